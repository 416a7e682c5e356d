import sys, time
from .proofs import PROOFS
from .tools import prove, rtlil_of
import re
pat=sys.argv[1]; limit=int(sys.argv[2]) if len(sys.argv)>2 else 300
for name,p in PROOFS.items():
    if re.search(pat,name):
        t=time.time()
        try:
            d=rtlil_of(p.bench())
            v=prove(d,p.engine,p.depth,skip=p.skip,limit=limit)
        except Exception as e:
            print(name, "EXC", repr(e)[-1500:], flush=True); continue
        print(f"{name:70s} {p.engine} {v.status} {v.step} {v.seconds} cpu {time.time()-t:.0f} wall", flush=True)
