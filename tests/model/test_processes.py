"""Tests of processes that train together, as `torchrun` starts them."""

import torch

from psahw.model import processes


def test_each_process_takes_its_own_gpu(monkeypatch):
    taken, joined, at_exit = [], [], []
    monkeypatch.setenv("RANK", "5")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    monkeypatch.setattr(processes.atexit, "register", at_exit.append)
    monkeypatch.setattr(torch.distributed, "init_process_group", joined.append)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 5)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 8)
    assert processes.processes() == (5, 8)
    assert (taken, joined) == ([1], ["nccl"])
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "destroy_process_group", lambda: joined.pop())
    at_exit.pop()()
    assert joined == []
