//! A TCP proxy between two nodes, on loopback: what one connects to in place of the other.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::links::Links;
use crate::task::generator;

/// Bytes that are read at a time: of each such piece it is decided whether it is lost.
const PIECE: usize = 16 << 10;
/// Pieces that may wait in a link for their time: at a delay of 0.2 s, 80 MB/s.
const WAITING: usize = 1024;
/// How long a stream stalls when a packet is lost: the shortest time in which Linux sends again.
const RESEND: Duration = Duration::from_millis(200);

/// A proxy. It accepts connections of node `from`, connects each to node `to`, and passes bytes on as
/// the two links between them do. Dropping it ends all its connections and threads.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    links: Arc<Links>,
    from: usize,
    to: usize,
    target: SocketAddr,
    seed: u64,
    closed: AtomicBool,
    open: Mutex<Open>,
}

/// What ends with a proxy.
#[derive(Debug, Default)]
struct Open {
    threads: Vec<JoinHandle<()>>,
    streams: Vec<TcpStream>,
}

/// What a link holds.
enum Piece {
    /// Bytes, and when they are due.
    Bytes(Instant, Vec<u8>),
    /// The sender has closed the stream.
    End,
}

impl Proxy {
    /// Starts a proxy on a free port, from node `from` to node `to`, which listens at `target`. Which
    /// pieces are lost depends on `seed`.
    ///
    /// # Errors
    ///
    /// If there is no port or no thread.
    pub fn start(
        links: Arc<Links>,
        (from, to): (usize, usize),
        target: SocketAddr,
        seed: u64,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            links,
            from,
            to,
            target,
            seed,
            closed: AtomicBool::new(false),
            open: Mutex::default(),
        });
        let accepts = shared.clone();
        let accepting = Builder::new()
            .name(format!("proxy-{from}-{to}"))
            .spawn(move || accept(&listener, &accepts))?;
        Ok(Self {
            address,
            shared,
            accepting: Some(accepting),
        })
    }

    /// Where to connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        self.shared.links.close();
        // Wakes the thread that accepts.
        drop(TcpStream::connect(self.address));
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
        // No thread is added once the flag is set and the accepting thread is gone, except by those
        // that are joined here.
        loop {
            let Open { threads, streams } = std::mem::take(&mut *self.shared.open());
            for stream in streams {
                let _ = stream.shutdown(Shutdown::Both);
            }
            if threads.is_empty() {
                break;
            }
            for thread in threads {
                let _ = thread.join();
            }
        }
    }
}

impl Shared {
    fn open(&self) -> std::sync::MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Starts a thread of a connection.
    fn spawn(&self, act: impl FnOnce() + Send + 'static) {
        let name = format!("link-{}-{}", self.from, self.to);
        // Without it, the connection ends: its streams are dropped.
        if let Ok(thread) = Builder::new().name(name).spawn(act) {
            let mut open = self.open();
            open.threads.retain(|thread| !thread.is_finished());
            open.threads.push(thread);
        }
    }

    /// Has a stream end with the proxy, unless that is over already.
    fn register(&self, stream: &TcpStream) -> io::Result<()> {
        let copy = stream.try_clone()?;
        let mut open = self.open();
        if self.is_closed() {
            let _ = copy.shutdown(Shutdown::Both);
        }
        // Of a connection that has ended, the address of the other end is not known.
        open.streams.retain(|stream| stream.peer_addr().is_ok());
        open.streams.push(copy);
        Ok(())
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for number in 0.. {
        let stream = listener.accept();
        if shared.is_closed() {
            return;
        }
        match stream {
            Ok((stream, _)) => {
                let of = shared.clone();
                // If it cannot be passed on, it ends: its node tries again.
                shared.spawn(move || drop(connect(&of, stream, number)));
            }
            // One that failed may be followed by others, once there are files for them.
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// Connects a stream to the other node, once both ways are open: a network that is cut either way
/// lets no connection be made.
fn connect(shared: &Arc<Shared>, near: TcpStream, number: u64) -> io::Result<()> {
    if !shared.links.wait_for_both(shared.from, shared.to) || has_ended(&near)? {
        return Ok(());
    }
    let far = TcpStream::connect(shared.target)?;
    for stream in [&near, &far] {
        stream.set_nodelay(true)?;
        shared.register(stream)?;
    }
    let Shared { from, to, .. } = **shared;
    let back = (far.try_clone()?, near.try_clone()?);
    for ((reader, writer), way) in [((near, far), (from, to)), (back, (to, from))] {
        let (sender, pieces) = sync_channel(WAITING);
        let key = [shared.seed, way.0 as u64, way.1 as u64, number];
        let luck = generator("lsgd chaos loss", &key);
        let reads = shared.clone();
        shared.spawn(move || read(&reads.links, reader, way, luck, &sender));
        let writes = shared.clone();
        shared.spawn(move || write(&writes.links, writer, way, &pieces));
    }
    Ok(())
}

/// Whether whoever connected has given up meanwhile.
fn has_ended(stream: &TcpStream) -> io::Result<bool> {
    stream.set_nonblocking(true)?;
    let ended = match stream.peek(&mut [0]) {
        Ok(read) => read == 0,
        Err(error) => error.kind() != io::ErrorKind::WouldBlock,
    };
    stream.set_nonblocking(false)?;
    Ok(ended)
}

/// Reads what comes, and decides when each piece is due.
fn read(
    links: &Links,
    mut from: TcpStream,
    way: (usize, usize),
    mut luck: ChaCha8Rng,
    to: &SyncSender<Piece>,
) {
    let mut bytes = vec![0; PIECE];
    loop {
        let piece = match from.read(&mut bytes) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Ok(0) | Err(_) => Piece::End,
            Ok(read) => {
                let passage = links.passage(way.0, way.1);
                let lost = passage.loss > 0.0 && luck.random::<f64>() < passage.loss;
                let stall = if lost { RESEND } else { Duration::ZERO };
                let due = Instant::now() + passage.delay + stall;
                Piece::Bytes(due, bytes[..read].to_vec())
            }
        };
        let is_end = matches!(piece, Piece::End);
        if to.send(piece).is_err() || is_end {
            return;
        }
    }
}

/// Writes each piece when it is due and the link lets it pass, in order.
fn write(links: &Links, mut to: TcpStream, way: (usize, usize), pieces: &Receiver<Piece>) {
    for piece in pieces {
        let (due, bytes) = match piece {
            Piece::Bytes(due, bytes) => (due, bytes),
            Piece::End => (Instant::now(), Vec::new()),
        };
        if !links.wait(way.0, way.1, due) {
            break;
        }
        if bytes.is_empty() {
            let _ = to.shutdown(Shutdown::Write);
            return;
        }
        if to.write_all(&bytes).is_err() {
            break;
        }
    }
    // The other way ends too.
    let _ = to.shutdown(Shutdown::Both);
}

#[cfg(test)]
mod tests {
    use super::super::links::Trouble;
    use super::*;

    /// A proxy from node 0 to node 1, and where that listens.
    fn proxy() -> (Arc<Links>, Proxy, TcpListener) {
        let links = Arc::new(Links::new(2));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let target = listener.local_addr().unwrap();
        let proxy = Proxy::start(links.clone(), (0, 1), target, 7).unwrap();
        (links, proxy, listener)
    }

    fn meet(proxy: &Proxy, listener: &TcpListener) -> (TcpStream, TcpStream) {
        let near = TcpStream::connect(proxy.address()).unwrap();
        let (far, _) = listener.accept().unwrap();
        (near, far)
    }

    #[track_caller]
    fn passes(from: &mut TcpStream, to: &mut TcpStream, bytes: &[u8]) {
        from.write_all(bytes).unwrap();
        let mut read = vec![0; bytes.len()];
        to.read_exact(&mut read).unwrap();
        assert!(read == bytes);
    }

    /// Whether nothing is there to be read.
    fn is_silent(stream: &TcpStream) -> bool {
        stream.set_nonblocking(true).unwrap();
        let read = stream.peek(&mut [0]);
        stream.set_nonblocking(false).unwrap();
        read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    #[test]
    fn bytes_pass_both_ways_and_so_does_the_end() {
        let (_links, proxy, listener) = proxy();
        let (mut near, mut far) = meet(&proxy, &listener);
        let long: Vec<u8> = (0..200_000_u32).map(|n| n as u8).collect();
        passes(&mut near, &mut far, &long);
        passes(&mut far, &mut near, &long);
        near.shutdown(Shutdown::Write).unwrap();
        assert_eq!(far.read(&mut [0]).unwrap(), 0);
        // The other way is still open.
        passes(&mut far, &mut near, b"late");
        drop(far);
        assert_eq!(near.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn a_cut_one_way_holds_what_goes_that_way_until_it_is_healed() {
        let (links, proxy, listener) = proxy();
        let (mut near, mut far) = meet(&proxy, &listener);
        links.trouble(0, 1, Trouble::Cut);
        near.write_all(b"held").unwrap();
        // Passes later than what is held was sent.
        passes(&mut far, &mut near, b"passes");
        assert!(is_silent(&far));
        links.heal(0, 1, Trouble::Cut);
        let mut read = [0; 4];
        far.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"held");
    }

    #[test]
    fn connections_are_made_again_after_a_cut_and_not_during_it() {
        let (links, proxy, listener) = proxy();
        let (near, far) = meet(&proxy, &listener);
        links.trouble(1, 0, Trouble::Cut);
        drop((near, far));
        // One gives up before the cut is healed: the other node never sees it.
        let gave_up = TcpStream::connect(proxy.address()).unwrap();
        gave_up.shutdown(Shutdown::Both).unwrap();
        drop(gave_up);
        let mut near = TcpStream::connect(proxy.address()).unwrap();
        listener.set_nonblocking(true).unwrap();
        assert!(listener.accept().is_err());
        listener.set_nonblocking(false).unwrap();
        links.heal(1, 0, Trouble::Cut);
        let (mut far, _) = listener.accept().unwrap();
        passes(&mut near, &mut far, b"again");
        passes(&mut far, &mut near, b"and back");
    }

    #[test]
    fn what_is_late_or_lost_once_still_comes_in_order() {
        let (links, proxy, listener) = proxy();
        let (mut near, mut far) = meet(&proxy, &listener);
        links.trouble(0, 1, Trouble::Delay(Duration::from_millis(5)));
        links.trouble(0, 1, Trouble::Loss(0.3));
        let long: Vec<u8> = (0..100_000_u32).map(|n| (n / 7) as u8).collect();
        passes(&mut near, &mut far, &long);
    }

    #[test]
    fn all_ends_with_the_proxy() {
        let (links, proxy, listener) = proxy();
        let (mut near, mut far) = meet(&proxy, &listener);
        links.trouble(0, 1, Trouble::Cut);
        near.write_all(b"held").unwrap();
        drop(proxy);
        assert!(matches!(far.read(&mut [0]), Ok(0) | Err(_)));
        assert!(matches!(near.read(&mut [0]), Ok(0) | Err(_)));
    }
}
