import asyncio

from engine.sandbox.terminal import Terminal


class Typed:
    """What somebody types, and what they see of it."""

    def __init__(self, *chunks):
        self.chunks = list(chunks)
        self.seen = b""

    async def read(self, n=-1):
        return self.chunks.pop(0) if self.chunks else b""

    def write(self, data):
        self.seen += data


def lines(*chunks):
    typed = Typed(*chunks)
    terminal = Terminal(typed, typed)

    async def read():
        found = []
        while (line := await terminal.line("$ ")) is not None:
            found.append(line)
        return found

    return asyncio.run(read()), typed.seen


def test_lines_are_echoed():
    assert lines(b"ls -l\r", b"p", b"wd\n") == (["ls -l", "pwd"], b"$ ls -l\r\n$ pwd\r\n$ ")


def test_backspace_takes_back():
    found, seen = lines(b"lx\x7fs\r")
    assert found == ["ls"]
    assert seen == b"$ lx\b \bs\r\n$ "


def test_backspace_at_the_start_does_nothing():
    assert lines(b"\x7f\x7fa\r")[0] == ["a"]


def test_control_u_clears_and_control_c_gives_up_the_line():
    assert lines(b"nonsense\x15ls\r")[0] == ["ls"]
    found, seen = lines(b"nonsense\x03ls\r")
    assert found == ["", "ls"]
    assert b"^C\r\n" in seen


def test_control_d_ends_only_on_an_empty_line():
    assert lines(b"a\x04b\r\x04c\r")[0] == ["ab"]


def test_cursor_keys_are_not_text():
    assert lines(b"a\x1b[Db\r")[0] == ["ab"]


def test_output_gets_the_line_ends_of_terminals():
    typed = Typed()
    Terminal(typed, typed).show(b"one\ntwo\r\n")
    assert typed.seen == b"one\r\ntwo\r\n"
