//! The bodies of requests and responses, which the host streams.

use spin_sdk::wit::wasi::http0_2_0::types::{IncomingBody, OutgoingBody};
use wasi::io::streams::{InputStream, OutputStream, StreamError};

use super::wait::{note_wait, ready};

/// The most bytes that one read takes. The host returns a body in the pieces in which it arrives.
const MAX_READ: u64 = 1 << 20;

/// A body that is being read.
pub(super) struct Reader {
    // Dropped in this order: the host traps if a body is dropped before its stream.
    stream: InputStream,
    _body: IncomingBody,
    /// Number of bytes that are missing, if `Content-Length` tells. The end is then not asked for.
    missing: Option<u64>,
}

/// The connection ended before the body.
#[derive(Debug)]
pub(super) struct Incomplete;

type Piece = Result<Vec<u8>, Incomplete>;

impl Reader {
    /// A reader of a body. `length` is that in `Content-Length`, which the host enforces.
    pub(super) fn new(body: IncomingBody, length: Option<u64>) -> Option<Self> {
        Some(Self { stream: body.stream().ok()?, _body: body, missing: length })
    }

    /// Returns the next piece; `None` at the end.
    pub(super) async fn next(&mut self) -> Option<Piece> {
        loop {
            match self.read(InputStream::read)? {
                Ok(piece) if piece.is_empty() => ready(self.stream.subscribe()).await,
                piece => return Some(piece),
            }
        }
    }

    /// Like [`next`](Self::next), with fewer calls to the host. Nothing else runs in this instance meanwhile.
    pub(super) fn next_blocking(&mut self) -> Option<Piece> {
        loop {
            note_wait();
            match self.read(InputStream::blocking_read)? {
                Ok(piece) if piece.is_empty() => {}
                piece => return Some(piece),
            }
        }
    }

    fn read(&mut self, read: fn(&InputStream, u64) -> Result<Vec<u8>, StreamError>) -> Option<Piece> {
        if self.missing == Some(0) {
            return None;
        }
        match read(&self.stream, MAX_READ) {
            Ok(piece) => {
                let length = u64::try_from(piece.len()).unwrap_or(u64::MAX);
                self.missing = self.missing.map(|missing| missing.saturating_sub(length));
                Some(Ok(piece))
            }
            Err(StreamError::Closed) => None,
            Err(StreamError::LastOperationFailed(_)) => Some(Err(Incomplete)),
        }
    }
}

/// A body that is being written.
pub(super) struct Writer<'b> {
    // Dropped in this order, as in [`Reader`].
    stream: OutputStream,
    body: OutgoingBody,
    rest: &'b [u8],
}

impl<'b> Writer<'b> {
    /// Writes as much of a body as the host takes without its receiver, which is 1 MB in Spin. Returns a writer of the rest;
    /// `None` if that was all.
    ///
    /// This has to happen before the request or response is sent. Then its head and body leave the host in one piece.
    /// Otherwise, they may be two, and the second one waits until the peer has acknowledged the first one, which takes
    /// 40 ms: Spin doesn't turn off Nagle's algorithm (RFC 9293, section 3.7.4).
    pub(super) fn begin(body: OutgoingBody, bytes: &'b [u8]) -> Result<Option<Self>, StreamError> {
        if bytes.is_empty() {
            let _ = OutgoingBody::finish(body, None);
            return Ok(None);
        }
        let stream = body.write().map_err(|()| StreamError::Closed)?;
        let mut writer = Self { stream, body, rest: bytes };
        while !writer.rest.is_empty() {
            if writer.write()? == 0 {
                return Ok(Some(writer));
            }
        }
        writer.end();
        Ok(None)
    }

    /// Writes the rest, as the host takes it.
    pub(super) async fn finish(mut self) -> Result<(), StreamError> {
        while !self.rest.is_empty() {
            if self.write()? == 0 {
                ready(self.stream.subscribe()).await;
            }
        }
        self.end();
        Ok(())
    }

    /// Writes as much as the host takes now. Returns the number of bytes.
    fn write(&mut self) -> Result<usize, StreamError> {
        let permitted = usize::try_from(self.stream.check_write()?).unwrap_or(usize::MAX);
        let (now, later) = self.rest.split_at_checked(permitted).unwrap_or((self.rest, &[]));
        if !now.is_empty() {
            self.stream.write(now)?;
        }
        self.rest = later;
        Ok(now.len())
    }

    fn end(self) {
        let Self { stream, body, .. } = self;
        drop(stream);
        // An error means that the body differs from its `Content-Length`, which is made from its length.
        let _ = OutgoingBody::finish(body, None);
    }
}
