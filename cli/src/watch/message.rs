//! What the watcher sends to the follower: new objects.

use std::io::{Read, Write};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Objects that are to be loaded together.
#[derive(Debug, Default)]
pub(super) struct Message {
    /// Each with the place of its file among the files of the program.
    pub(super) objects: Vec<(usize, Vec<u8>)>,
    /// How long compiling took, if there was something to compile.
    pub(super) took: Option<Duration>,
    /// Files of which there is no object, because they do not compile. Nothing is loaded until they do.
    pub(super) failing: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    objects: Vec<(usize, usize)>,
    took: Option<Duration>,
    failing: Vec<String>,
}

impl Message {
    pub(super) fn send(&self, to: &mut impl Write) -> std::io::Result<()> {
        let header = Header {
            objects: self.objects.iter().map(|(file, bytes)| (*file, bytes.len())).collect(),
            took: self.took,
            failing: self.failing.clone(),
        };
        let header = serde_json::to_vec(&header)?;
        to.write_all(&(header.len() as u64).to_le_bytes())?;
        to.write_all(&header)?;
        for (_, bytes) in &self.objects {
            to.write_all(bytes)?;
        }
        to.flush()
    }

    pub(super) fn receive(from: &mut impl Read) -> std::io::Result<Self> {
        let mut size = [0; 8];
        from.read_exact(&mut size)?;
        let header: Header = serde_json::from_slice(&bytes(from, u64::from_le_bytes(size))?)?;
        let objects = header.objects.into_iter();
        let objects = objects.map(|(file, size)| Ok((file, bytes(from, size as u64)?)));
        Ok(Message {
            objects: objects.collect::<std::io::Result<_>>()?,
            took: header.took,
            failing: header.failing,
        })
    }
}

fn bytes(from: &mut impl Read, count: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(count).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == count {
        Ok(bytes)
    } else {
        Err(std::io::ErrorKind::UnexpectedEof.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_arrives() {
        let message = Message {
            objects: vec![(3, vec![1, 2, 3]), (0, Vec::new())],
            took: Some(Duration::from_millis(40)),
            failing: vec!["b.c".into()],
        };
        let mut sent = Vec::new();
        message.send(&mut sent).expect("a vector takes everything");
        let received = Message::receive(&mut &sent[..]).expect("a whole message");
        assert_eq!(received.objects, message.objects);
        assert_eq!((received.took, received.failing), (message.took, message.failing));
        for end in 0..sent.len() {
            assert!(Message::receive(&mut &sent[..end]).is_err());
        }
    }
}
