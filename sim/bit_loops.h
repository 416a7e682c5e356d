// The loops over bits that psahw.sim.bit_loops writes. A bit is a byte that is 0 or 1. Targets never overlap operands.

#include <cstdint>
#include <cstring>

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("O3")
#endif

using Bit = unsigned char;

struct Run {  // bits side by side
  const Bit* first;
  Bit operator[](int i) const { return first[i]; }
};

struct Same {  // one bit for all
  Bit bit;
  Bit operator[](int) const { return bit; }
};

template <class Number>
struct Table {  // constants
  const Number* first;
  Bit operator[](int i) const { return static_cast<Bit>(first[i]); }
};
template <class Number>
Table(const Number*) -> Table<Number>;

struct Not { Bit operator()(Bit a) const { return a ^ 1; } };
struct And { Bit operator()(Bit a, Bit b) const { return a & b; } };
struct AndNot { Bit operator()(Bit a, Bit b) const { return a & (b ^ 1); } };
struct Or { Bit operator()(Bit a, Bit b) const { return a | b; } };
struct Xor { Bit operator()(Bit a, Bit b) const { return a ^ b; } };
struct Choice { Bit operator()(Bit a, Bit b, Bit c) const { return c ^ (a & (b ^ c)); } };
struct Parity { Bit operator()(Bit a, Bit b, Bit c) const { return a ^ b ^ c; } };
struct Majority { Bit operator()(Bit a, Bit b, Bit c) const { return (a & b) | (c & (a ^ b)); } };

template <class Function, class... Operands>
[[gnu::noinline]] static void each(Bit* target, int count, Function function, Operands... operands) {
#pragma GCC ivdep
  for (int i = 0; i < count; ++i) target[i] = function(operands[i]...);
}

template <class Number>
[[gnu::noinline]] static void gather(const Bit* v, Bit* target, const Number* places, int count) {
#pragma GCC ivdep
  for (int i = 0; i < count; ++i) target[i] = v[places[i]];
}

static inline void copy(Bit* target, const Bit* source, int count) { std::memcpy(target, source, count); }
