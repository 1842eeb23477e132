"""Which worker is a process of this machine, and whether it lives."""

from __future__ import annotations

import os
import subprocess
import sys

from bot.turns.worker import new_worker_id, process_of


def test_a_worker_of_this_process_lives_and_no_two_have_one_name() -> None:
    first, second = new_worker_id(), new_worker_id()
    process = process_of(first)
    assert first != second
    assert process is not None and process.is_alive


def test_a_worker_of_another_machine_with_the_same_host_name_is_not_judged() -> None:
    machine, pid, started, rest = new_worker_id().split("|")
    host, *others = machine.split(" ")
    elsewhere = " ".join([host, *(other[::-1] for other in others)])
    assert process_of("|".join([elsewhere, pid, started, rest])) is None
    assert process_of("named by hand") is None


def test_a_process_that_was_killed_is_dead_before_its_parent_has_noticed_and_its_number_means_no_other() -> None:
    says = "from bot.turns.worker import new_worker_id as new; print(new(), flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", says], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        process = process_of(child.stdout.readline().decode().strip())
        assert process is not None and process.is_alive
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # its parent has not taken note
        assert not process.is_alive
    machine, pid, started, rest = new_worker_id().split("|")
    reused = process_of("|".join([machine, pid, f"{started}0", rest]))
    assert reused is not None and not reused.is_alive
