//! An API that costs nearly nothing: answers each head at once, reads bodies away, and has one large answer.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Of `/large`: more than the sockets of the kernel hold.
const LARGE: usize = 64 << 20;

pub(crate) async fn serve(listen: &str) {
    let listener = TcpListener::bind(listen).await.unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(answer(stream));
    }
}

async fn answer(mut stream: TcpStream) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let body = "{\"id\":42,\"name\":\"a thing\",\"state\":\"open\",\"items\":[1,2,3,4,5,6,7,8]}\n";
    let small =
        format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let mut buffer = Vec::with_capacity(8192);
    loop {
        let end = loop {
            if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            if stream.read_buf(&mut buffer).await.ok()? == 0 {
                return None;
            }
        };
        let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
        let length: usize = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length:"))
            .map_or(0, |value| value.trim().parse().unwrap_or(0));
        let mut left = length.saturating_sub(buffer.len() - end);
        buffer.drain(..end + length.min(buffer.len() - end));
        let mut sink = [0; 8192];
        while left > 0 {
            let wanted = left.min(sink.len());
            match stream.read(&mut sink[..wanted]).await.ok()? {
                0 => return None,
                read => left -= read,
            }
        }
        if head.starts_with("get /large") {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {LARGE}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.ok()?;
            let piece = [b'x'; 65_536];
            for _ in 0..LARGE / piece.len() {
                stream.write_all(&piece).await.ok()?;
            }
        } else {
            stream.write_all(small.as_bytes()).await.ok()?;
        }
    }
}
