"""A small HTTP/1 for soaks: a client that tells how a request failed, and an API whose behaviour a soak decides."""

import asyncio


async def read_head(reader):
    """The first line and the headers, names in lower case; None at a clean end of the stream."""
    try:
        text = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as problem:
        if problem.partial:
            raise ConnectionResetError("the stream ended within a head") from problem
        return None
    lines = text.decode("latin-1").split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
    return lines[0], {name.lower(): value for name, value in headers.items()}


async def read_body(reader, headers):
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while size := int(await reader.readline(), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readline()
        return body
    return await reader.readexactly(int(headers.get("content-length", 0)))


class Client:
    """One connection that is opened again when it has ended."""

    def __init__(self, port, token, keepalive=True):
        self.port, self.token, self.keepalive = port, token, keepalive
        self.reader = self.writer = None
        self.opened = 0

    async def ask(self, method="GET", path="/api/orgs/org_1/things/42", body=b"", headers=()):
        """Status and body. Raises OSError or EOFError when no whole answer came: the request may have been lost."""
        if self.writer is not None and self.reader.at_eof():
            self.close()
        if self.writer is None:
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
            self.opened += 1
        lines = [f"{method} {path} HTTP/1.1", "host: api.example.com", f"authorization: Bearer {self.token}"]
        lines += [f"{name}: {value}" for name, value in headers]
        if body or method != "GET":
            lines.append(f"content-length: {len(body)}")
        if not self.keepalive:
            lines.append("connection: close")
        try:
            self.writer.write("\r\n".join([*lines, "", ""]).encode() + body)
            await self.writer.drain()
            head = await read_head(self.reader)
            if head is None:
                raise EOFError("closed without an answer")
            answer = await read_body(self.reader, head[1])
        except (OSError, EOFError):
            self.close()
            raise
        if not self.keepalive or head[1].get("connection", "").lower() == "close":
            self.close()
        return int(head[0].split()[1]), answer

    def close(self):
        if self.writer is not None:
            self.writer.close()
        self.reader = self.writer = None


async def serve(answer, idle=60.0, port=0):
    """An API: `answer(method, path, headers, body)` gives the answer's body. Closes what was silent for `idle` seconds."""

    async def connection(reader, writer):
        try:
            while True:
                head = await asyncio.wait_for(read_head(reader), idle)
                if head is None:
                    return
                line, headers = head
                body = await read_body(reader, headers)
                method, path, _ = line.split(" ")
                text = await answer(method, path, headers, body)
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(text), text))
                await writer.drain()
        except (asyncio.TimeoutError, OSError, EOFError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connection, "127.0.0.1", port, backlog=1024)
    return server, server.sockets[0].getsockname()[1]
