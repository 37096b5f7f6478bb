//! What is said between a runner and its supervisor: frames of JSON over a socket, some of which bring a file along.

use rustix::fd::{AsFd, OwnedFd};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::path::PathBuf;
use tokio::io::Interest;
use tokio::net::UnixStream;

/// What comes first, from the runner.
#[derive(Serialize, Deserialize)]
pub(super) struct Hello {
    /// The folder of the run's attempts.
    pub run: PathBuf,
    /// Of the runner.
    pub epoch: u64,
}

/// A script to start. Not shown to anybody: it holds secrets.
#[derive(Serialize, Deserialize)]
pub(crate) struct Start {
    /// Names the attempt: its folder, seen from the run's.
    pub name: String,
    pub text: String,
    /// Where it runs.
    pub directory: PathBuf,
    pub environment: Vec<(String, OsString)>,
    /// What is struck out of what it prints, the longest first.
    pub strike: Vec<String>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Request {
    pub id: u64,
    pub start: Start,
    /// A file comes with it, which is to stay open until the script has ended.
    pub holds: bool,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Reply {
    pub id: u64,
    pub end: super::End,
}

/// One side of the socket.
pub(super) struct Connection {
    stream: UnixStream,
    bytes: Vec<u8>,
    /// How many of the bytes have been read.
    read: usize,
    files: VecDeque<OwnedFd>,
}

const CHUNK: usize = 16 * 1024;

impl Connection {
    pub fn new(stream: std::os::unix::net::UnixStream) -> io::Result<Connection> {
        let stream = UnixStream::from_std(stream)?;
        Ok(Connection { stream, bytes: Vec::new(), read: 0, files: VecDeque::new() })
    }

    /// The next message that has come whole.
    pub fn next<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let rest = &self.bytes[self.read..];
        let Some((length, rest)) = rest.split_first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_le_bytes(*length) as usize;
        let Some(message) = rest.get(..length) else { return Ok(None) };
        let message = serde_json::from_slice(message)?;
        self.read += 4 + length;
        if self.read == self.bytes.len() {
            self.read = 0;
            self.bytes.clear();
        }
        Ok(Some(message))
    }

    /// The next file that came along.
    pub fn file(&mut self) -> Option<OwnedFd> {
        self.files.pop_front()
    }

    /// Waits for more; false when there will be none. Nothing is lost when it is dropped meanwhile.
    pub async fn more(&mut self) -> io::Result<bool> {
        let mut chunk = [0; CHUNK];
        let mut files = Vec::new();
        let stream = &self.stream;
        let count = stream
            .async_io(Interest::READABLE, || {
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16))];
                let mut control = RecvAncillaryBuffer::new(&mut space);
                let parts = &mut [IoSliceMut::new(&mut chunk)];
                let received = recvmsg(stream.as_fd(), parts, &mut control, RecvFlags::empty())?;
                for message in control.drain() {
                    if let RecvAncillaryMessage::ScmRights(rights) = message {
                        files.extend(rights);
                    }
                }
                Ok(received.bytes)
            })
            .await?;
        for file in files {
            // Scripts shall not hold what is held for them: it is let go of when they have ended.
            rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::CLOEXEC)?;
            self.files.push_back(file);
        }
        self.bytes.drain(..std::mem::take(&mut self.read));
        self.bytes.extend_from_slice(&chunk[..count]);
        Ok(count > 0)
    }

    pub async fn send(&self, bytes: &[u8], file: Option<OwnedFd>) -> io::Result<()> {
        send(&self.stream, bytes, file).await
    }

    /// Both directions apart.
    pub fn split(self) -> io::Result<(Connection, UnixStream)> {
        let stream = self.stream.into_std()?;
        let writer = UnixStream::from_std(stream.try_clone()?)?;
        let stream = UnixStream::from_std(stream)?;
        Ok((Connection { stream, ..self }, writer))
    }
}

/// A message as it is sent.
pub(super) fn frame(message: &impl Serialize, bytes: &mut Vec<u8>) -> io::Result<()> {
    let at = bytes.len();
    bytes.extend_from_slice(&[0; 4]);
    serde_json::to_writer(&mut *bytes, message)?;
    let length = u32::try_from(bytes.len() - at - 4).map_err(io::Error::other)?;
    bytes[at..at + 4].copy_from_slice(&length.to_le_bytes());
    Ok(())
}

/// Sends all of it; the file comes with its first byte.
pub(super) async fn send(stream: &UnixStream, mut bytes: &[u8], file: Option<OwnedFd>) -> io::Result<()> {
    let mut files: Vec<OwnedFd> = file.into_iter().collect();
    while !bytes.is_empty() {
        let sent = stream
            .async_io(Interest::WRITABLE, || {
                let rights: Vec<_> = files.iter().map(AsFd::as_fd).collect();
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
                let mut control = SendAncillaryBuffer::new(&mut space);
                if !rights.is_empty() {
                    control.push(SendAncillaryMessage::ScmRights(&rights));
                }
                Ok(sendmsg(stream.as_fd(), &[IoSlice::new(bytes)], &mut control, SendFlags::empty())?)
            })
            .await?;
        files.clear();
        bytes = &bytes[sent..];
    }
    Ok(())
}
