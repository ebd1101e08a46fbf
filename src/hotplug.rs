//! Tells when a video device came: the kernel's uevents, netlink(7).

use std::io;
use std::os::unix::net::UnixDatagram as StdDatagram;

use rustix::net::netlink::{KOBJECT_UEVENT, SocketAddrNetlink};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};
use tokio::net::UnixDatagram;

/// Video devices that come from now on.
#[derive(Debug)]
pub struct Arrivals(UnixDatagram);

impl Arrivals {
    /// Call it within a tokio runtime.
    pub fn watch() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let protocol = Some(KOBJECT_UEVENT);
        let socket = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, protocol)?;
        bind(&socket, &SocketAddrNetlink::new(0, OF_THE_KERNEL))?;
        // To tokio it is a datagram socket like any other.
        UnixDatagram::from_std(StdDatagram::from(socket)).map(Self)
    }

    /// Waits for the next. May be dropped at any point.
    pub async fn next(&self) -> io::Result<()> {
        let mut event = [0; LONGEST_EVENT];
        loop {
            match self.0.recv(&mut event).await {
                Ok(length) if is_arrival(&event[..length]) => return Ok(()),
                Ok(_) => {}
                // Some were lost, and one of them may have been it.
                Err(error) if error.raw_os_error() == Some(NO_BUFFER_SPACE) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

/// `add@/devices/…`, then `KEY=value` each with a zero byte behind it.
fn is_arrival(event: &[u8]) -> bool {
    event.starts_with(b"add@")
        && event
            .split(|byte| *byte == 0)
            .any(|field| field == b"SUBSYSTEM=video4linux")
}

/// The multicast group that the kernel sends to; udev's own is the second.
const OF_THE_KERNEL: u32 = 1;

/// `UEVENT_BUFFER_SIZE` of linux/kobject.h, and as much for the path before it.
const LONGEST_EVENT: usize = 4096;

/// netlink(7): the kernel dropped messages for want of room.
const NO_BUFFER_SPACE: i32 = rustix::io::Errno::NOBUFS.raw_os_error();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_video_device_that_comes_is_one() {
        let event = |action: &str, subsystem: &str| {
            format!(
                "{action}@/devices/x/video4linux/video1\0ACTION={action}\0DEVPATH=/devices/x\0SUBSYSTEM={subsystem}\0MAJOR=81\0"
            )
        };
        assert!(is_arrival(event("add", "video4linux").as_bytes()));
        for other in [event("remove", "video4linux"), event("add", "usb")] {
            assert!(!is_arrival(other.as_bytes()), "{other}");
        }
        assert!(!is_arrival(b""));
        assert!(!is_arrival(b"libudev\0\xfe\xed\xca\xfe"));
    }

    #[tokio::test]
    async fn the_kernel_lets_everyone_listen() {
        Arrivals::watch().unwrap();
    }
}
