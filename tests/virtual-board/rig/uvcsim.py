#!/usr/bin/env python3
"""A USB camera in user space: UVC 1.0, YUY2 320x240 and MJPEG 640x480 at 15 per second over a bulk endpoint, spoken over USB/IP.

Listens on a free port of its argument, an address of this machine, and prints it. A connection's first line says what it is for:
  plug    the rest of the connection is USB/IP between this camera and the client's vhci-hcd, from the first URB on
  unplug  the cable is pulled: the camera's connection ends in the middle of whatever it was doing
  mute    the camera answers nothing, and so holds up whoever asks, until
  unmute  it answers all that it was asked meanwhile

Linux: Documentation/usb/usbip_protocol.rst. Not simulated: isochronous transfer, camera controls.
"""
import select
import socket
import struct
import sys
import threading
import time

import mjpeg

WIDTH, HEIGHT, FPS = 320, 240, 15
FRAME_BYTES = WIDTH * HEIGHT * 2
# Formats are counted from 1.
YUY2, MJPEG = 1, 2
MJPEG_WIDTH, MJPEG_HEIGHT = 640, 480
MJPEG_BYTES = 128 * 1024  # no picture is larger
MJPEG_PICTURES = 32
FRAME_INTERVAL = 10_000_000 // FPS  # 100 ns
MAX_PAYLOAD = 16384
BULK_IN = 0x81

# USB/IP
CMD_SUBMIT, CMD_UNLINK, RET_SUBMIT, RET_UNLINK = 1, 2, 3, 4
HEADER_BYTES = 48
EPIPE, ECONNRESET = -32, -104

# UVC 1.1, table A-8
SET_CUR, GET_CUR, GET_MIN, GET_MAX, GET_LEN, GET_INFO, GET_DEF = 0x01, 0x81, 0x82, 0x83, 0x85, 0x86, 0x87
END_OF_FRAME, END_OF_HEADER = 0x02, 0x80


def device_descriptor():
    return struct.pack("<BBHBBBBHHHBBBB", 18, 1, 0x0200, 0xEF, 2, 1, 64, 0x1D6B, 0x0102, 0x0100, 1, 2, 3, 1)


def configuration_descriptor():
    camera_terminal = struct.pack("<BBBBHBBHHHB3x", 18, 0x24, 0x02, 1, 0x0201, 0, 0, 0, 0, 0, 3)
    output_terminal = struct.pack("<BBBBHBBB", 9, 0x24, 0x03, 2, 0x0101, 0, 1, 0)
    units = camera_terminal + output_terminal
    control = struct.pack("<BBBHHIBB", 13, 0x24, 1, 0x0100, 13 + len(units), 48_000_000, 1, 1) + units

    yuy2 = b"YUY2\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71"
    format_ = struct.pack("<BBBBB", 27, 0x24, 4, 1, 1) + yuy2 + struct.pack("<BBBBBB", 16, 1, 0, 0, 0, 0)
    color = struct.pack("<BBBBBB", 6, 0x24, 0x0D, 1, 1, 4)
    mjpeg_format = struct.pack("<BBBBBBBBBBB", 11, 0x24, 6, MJPEG, 1, 1, 1, 0, 0, 0, 0)
    formats = format_ + frame_descriptor(5, WIDTH, HEIGHT, FRAME_BYTES) + color
    formats += mjpeg_format + frame_descriptor(7, MJPEG_WIDTH, MJPEG_HEIGHT, MJPEG_BYTES) + color
    streaming = (
        struct.pack("<BBBBHBBBBBBBBB", 15, 0x24, 1, 2, 15 + len(formats), BULK_IN, 0, 2, 0, 0, 0, 1, 0, 0) + formats
    )

    body = struct.pack("<BBBBBBBB", 8, 11, 0, 2, 0x0E, 3, 0, 0)
    body += struct.pack("<BBBBBBBBB", 9, 4, 0, 0, 0, 0x0E, 1, 0, 0) + control
    body += struct.pack("<BBBBBBBBB", 9, 4, 1, 0, 1, 0x0E, 2, 0, 0) + streaming
    body += struct.pack("<BBBBHB", 7, 5, BULK_IN, 2, 512, 0)
    return struct.pack("<BBHBBBBB", 9, 2, 9 + len(body), 2, 1, 0, 0x80, 250) + body


def frame_descriptor(subtype, width, height, size):
    bits = size * FPS * 8
    return struct.pack(
        "<BBBBBHHIIIIBI", 30, 0x24, subtype, 1, 0, width, height, bits, bits, size, FRAME_INTERVAL, 1, FRAME_INTERVAL
    )


def string_descriptor(index):
    if index == 0:
        return b"\x04\x03\x09\x04"
    text = ["", "Rig", "Simulated UVC camera", "SIM0001"][index].encode("utf-16le")
    return bytes([len(text) + 2, 3]) + text


def probe_control(format_):
    size = MJPEG_BYTES if format_ == MJPEG else FRAME_BYTES
    return struct.pack("<HBBIHHHHHII", 1, format_, 1, FRAME_INTERVAL, 0, 0, 0, 0, 0, size, MAX_PAYLOAD)


def mjpeg_picture(number):
    """A slope of grey that wanders, and a coloured bar that falls."""

    def shade(column, row):
        if row % MJPEG_PICTURES == number:
            return 200, 180, 90, 200
        grey = (column + row + number) % MJPEG_PICTURES * 4 + 60
        return grey, grey + 2, 128, 128

    return mjpeg.jpeg(MJPEG_WIDTH, MJPEG_HEIGHT, shade)


class Camera:
    """One plugged-in camera, from the connection's first URB to its end."""

    def __init__(self, link):
        self.link = link
        self.received = b""
        self.waiting = []  # (sequence number, length) of bulk URBs that want picture data
        self.last_submit = 0
        self.early_unlinks = {}  # URB not seen yet -> the unlink that wants it
        self.picture = b""  # what is left of the picture being sent
        self.frames = 0
        self.frame_id = 0
        self.next_frame_at = 0.0
        self.format = YUY2

    def run(self):
        while True:
            pause = self.send_pictures()
            readable, _, _ = select.select([self.link], [], [], pause)
            answering.wait()
            if readable:
                data = self.link.recv(65536)
                if not data:
                    return
                self.received += data
                self.take_urbs()

    def send_pictures(self):
        """Answers waiting URBs; returns the seconds until the next picture is due, or None."""
        while self.waiting:
            if not self.picture:
                now = time.monotonic()
                if not self.next_frame_at:
                    self.next_frame_at = now
                if now < self.next_frame_at:
                    return self.next_frame_at - now
                # Late by more than a second: skip pictures rather than hurry.
                self.next_frame_at = max(self.next_frame_at + 1 / FPS, now - 1)
                self.picture = self.draw()
                self.frames += 1
            sequence, length = self.waiting.pop(0)
            room = min(length, MAX_PAYLOAD) - 2
            part, self.picture = self.picture[:room], self.picture[room:]
            end = 0 if self.picture else END_OF_FRAME
            self.submitted(sequence, 0, bytes([2, END_OF_HEADER | end | self.frame_id]) + part)
            if end:
                self.frame_id ^= 1
        return None

    def draw(self):
        """YUY2: a grey that brightens with every picture, and a coloured bar of 16 rows."""
        if self.format == MJPEG:
            return MJPEG_LOOP[self.frames % MJPEG_PICTURES]
        grey = self.frames * 4 & 255
        bar = WIDTH * 8
        return bytes([grey, 128, grey, 128]) * (FRAME_BYTES // 4 - bar) + bytes([235, 90, 235, 200]) * bar

    def take_urbs(self):
        while len(self.received) >= HEADER_BYTES:
            command, sequence, _, direction_in, endpoint = struct.unpack(">IIIII", self.received[:20])
            if command == CMD_UNLINK:
                (urb,) = struct.unpack(">I", self.received[20:24])
                self.received = self.received[HEADER_BYTES:]
                self.unlink(sequence, urb)
                continue
            (length,) = struct.unpack(">i", self.received[24:28])
            whole = HEADER_BYTES + (0 if direction_in else length)
            if len(self.received) < whole:
                return
            setup, data = self.received[40:HEADER_BYTES], self.received[HEADER_BYTES:whole]
            self.received = self.received[whole:]
            self.last_submit = sequence
            if sequence in self.early_unlinks:
                self.unlinked(self.early_unlinks.pop(sequence), ECONNRESET)
            elif endpoint:
                self.waiting.append((sequence, length))
            else:
                self.control(sequence, setup, data)

    def unlink(self, sequence, urb):
        # vhci-hcd sends what it has to submit before what it has to unlink, but each from a queue of its own: an URB that is
        # killed at once may be unlinked before it is submitted. Answered early, it would be given back twice.
        if urb > self.last_submit:
            self.early_unlinks[urb] = sequence
            return
        found = any(number == urb for number, _ in self.waiting)
        self.waiting = [waiting for waiting in self.waiting if waiting[0] != urb]
        if not self.waiting:  # the stream was stopped
            self.picture = b""
            self.next_frame_at = 0.0
        self.unlinked(sequence, ECONNRESET if found else 0)

    def unlinked(self, sequence, status):
        header = struct.pack(">IIIII", RET_UNLINK, sequence, 0, 0, 0)
        self.link.sendall(header + struct.pack(">i24x", status))

    def submitted(self, sequence, status, data=b"", length=None):
        header = struct.pack(">IIIII", RET_SUBMIT, sequence, 0, 0, 0)
        self.link.sendall(header + struct.pack(">iIIII8x", status, length or len(data), 0, 0, 0) + data)

    def control(self, sequence, setup, data):
        kind, request, value, index, length = struct.unpack("<BBHHH", setup)
        device_to_host = kind & 0x80
        if kind & 0x60 == 0:
            answer = self.standard_request(request, value)
        elif index & 255 == 1 and value >> 8 in (1, 2):  # video streaming: probe and commit
            answer = self.streaming_request(request, data)
        else:
            answer = None
        if not device_to_host and answer is not None:
            self.submitted(sequence, 0, length=len(data))
        elif answer is None:
            self.submitted(sequence, EPIPE)
        else:
            self.submitted(sequence, 0, answer[:length])

    @staticmethod
    def standard_request(request, value):
        get_status, get_descriptor = 0, 6
        if request == get_status:
            return b"\0\0"
        if request != get_descriptor:
            return b"\0"
        kind, index = value >> 8, value & 255
        if kind == 1:
            return device_descriptor()
        if kind == 2:
            return configuration_descriptor()
        return string_descriptor(index) if kind == 3 and index < 4 else None

    def streaming_request(self, request, data):
        if request == SET_CUR and len(data) > 2:
            self.format = data[2] if data[2] in (YUY2, MJPEG) else YUY2
        if request in (GET_CUR, GET_MIN, GET_MAX, GET_DEF):
            return probe_control(self.format)
        return {SET_CUR: b"", GET_LEN: struct.pack("<H", 26), GET_INFO: b"\3"}.get(request)


def first_line(link):
    line = b""
    while not line.endswith(b"\n") and len(line) < 16:
        byte = link.recv(1)
        if not byte:
            break
        line += byte
    return line.strip().decode()


def serve(link):
    camera = Camera(link)
    try:
        camera.run()
    except OSError as error:
        print(error, flush=True)
    print(f"unplugged after {camera.frames} frames", flush=True)
    link.close()


def main():
    listener = socket.create_server((sys.argv[1], 0))
    print(f"listening on {listener.getsockname()[1]}", flush=True)
    plugged = None
    while True:
        link, _ = listener.accept()
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        order = first_line(link)
        print(order, flush=True)
        if order == "mute":
            answering.clear()
            link.close()
            continue
        answering.set()
        if order == "unmute":
            link.close()
            continue
        if plugged is not None:
            try:
                plugged.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it was gone already
            plugged = None
        if order == "plug":
            plugged = link
            threading.Thread(target=serve, args=(link,), daemon=True).start()
        else:
            link.close()


answering = threading.Event()
answering.set()

# Coded once: 640x480 takes this machine longer than a fifteenth of a second.
MJPEG_LOOP = [mjpeg_picture(number) for number in range(MJPEG_PICTURES)]

if __name__ == "__main__":
    main()
