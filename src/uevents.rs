//! Video devices that come: the kernel's uevents. netlink(7), `NETLINK_KOBJECT_UEVENT`.
//!
//! The kernel tells before udev has set names and rights, so who listens waits a moment and tries more than once.

use std::io;
use std::os::unix::net::UnixDatagram as StdDatagram;

use rustix::net::netlink::{KOBJECT_UEVENT, SocketAddrNetlink};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};
use tokio::net::UnixDatagram;
use tracing::debug;

/// Listens for video devices that come from now on.
#[derive(Debug)]
pub struct Uevents {
    socket: UnixDatagram,
}

impl Uevents {
    /// Call it within a tokio runtime.
    pub fn listen() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let kind = SocketType::DGRAM;
        let socket = socket_with(AddressFamily::NETLINK, kind, flags, Some(KOBJECT_UEVENT))?;
        bind(&socket, &SocketAddrNetlink::new(0, FROM_THE_KERNEL))?;
        let socket = UnixDatagram::from_std(StdDatagram::from(socket))?;
        Ok(Self { socket })
    }

    /// Waits until a camera or an encoder comes. Nothing is lost when it is dropped half way.
    pub async fn video_device_came(&self) -> io::Result<()> {
        let mut message = [0; LONGEST_MESSAGE];
        loop {
            match self.socket.recv(&mut message).await {
                Ok(length) => {
                    if let Some(node) = video_device(&message[..length]) {
                        debug!(node = %node.escape_ascii(), "a video device came");
                        return Ok(());
                    }
                }
                // One of those that did not fit may have been a camera's.
                Err(error) if error.raw_os_error() == Some(NO_BUFFER_SPACE) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

/// The name of the node that was made, when the message tells of one. `lib/kobject_uevent.c`: a header, then `KEY=value`, each
/// with a zero behind it.
fn video_device(message: &[u8]) -> Option<&[u8]> {
    let value = |key: &[u8]| {
        let mut entries = message.split(|byte| *byte == 0);
        entries.find_map(|entry| entry.strip_prefix(key)?.strip_prefix(b"="))
    };
    let is_video = value(b"ACTION") == Some(b"add") && value(b"SUBSYSTEM") == Some(b"video4linux");
    is_video.then(|| value(b"DEVNAME").unwrap_or_default())
}

/// The group of the kernel's own words; udev repeats them in group 2, in a format of its own.
const FROM_THE_KERNEL: u32 = 1;

/// netlink(7): the kernel dropped messages for want of room.
const NO_BUFFER_SPACE: i32 = rustix::io::Errno::NOBUFS.raw_os_error();

/// The kernel's `UEVENT_BUFFER_SIZE` is 2048, and the header comes before it.
const LONGEST_MESSAGE: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    const CAMERA: &[u8] = b"add@/devices/platform/vivid.0/video4linux/video0\0ACTION=add\0\
        DEVPATH=/devices/platform/vivid.0/video4linux/video0\0SUBSYSTEM=video4linux\0MAJOR=81\0MINOR=0\0\
        DEVNAME=video0\0SEQNUM=1403\0";

    fn with(what: &str, instead: &str) -> Vec<u8> {
        let camera = std::str::from_utf8(CAMERA).unwrap();
        assert!(camera.contains(what));
        camera.replace(what, instead).into_bytes()
    }

    #[test]
    fn a_camera_that_comes_is_heard() {
        assert_eq!(video_device(CAMERA), Some(&b"video0"[..]));
    }

    #[test]
    fn one_that_goes_and_other_devices_are_not() {
        assert_eq!(video_device(&with("ACTION=add", "ACTION=remove")), None);
        let sound = with("SUBSYSTEM=video4linux", "SUBSYSTEM=sound");
        assert_eq!(video_device(&sound), None);
        assert_eq!(video_device(b""), None);
        assert_eq!(video_device(b"libudev\0\xfe\xed\xca\xfe"), None);
    }

    #[test]
    fn a_message_that_was_cut_is_no_harm() {
        for length in 0..CAMERA.len() {
            let _ = video_device(&CAMERA[..length]);
        }
    }

    #[tokio::test]
    async fn the_kernel_lets_everybody_listen() {
        Uevents::listen().unwrap();
    }
}
