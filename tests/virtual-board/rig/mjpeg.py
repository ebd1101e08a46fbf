"""JPEG pictures as USB cameras make them: baseline, 4:2:2, and without the Huffman tables that everyone has.

Each block of 8x8 samples is of one shade, which leaves one coefficient a block and makes a picture cheap to code.
"""

import struct

# ITU-T T.81, table K.3 and K.4: the code of each category of DC differences. K.5 and K.6: what ends a block.
DC_LUMINANCE = ["00", "010", "011", "100", "101", "110", "1110", "11110", "111110"]
DC_CHROMINANCE = ["00", "01", "10", "110", "1110", "11110", "111110", "1111110", "11111110"]
END_OF_BLOCK_LUMINANCE, END_OF_BLOCK_CHROMINANCE = "1010", "00"


def segment(marker, payload):
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


def jpeg(width, height, shade):
    """shade(column, row) of each 16x8 pixels, in units of those: two luminances, then blue and red difference, 0 to 255."""
    # Divided by 8, the DC coefficient of a block is its shade less 128. T.81, A.3.3 and A.3.4.
    quantization = segment(0xDB, b"\0" + bytes([8] * 64))
    components = bytes([3, 1, 0x21, 0, 2, 0x11, 0, 3, 0x11, 0])
    frame = segment(0xC0, struct.pack(">BHH", 8, height, width) + components)
    scan = segment(0xDA, bytes([3, 1, 0x00, 2, 0x11, 3, 0x11, 0, 63, 0]))
    bits = []
    last = [128, 128, 128]
    for row in range(height // 8):
        for column in range(width // 16):
            for block, value in enumerate(shade(column, row)):
                component = max(block - 1, 0)
                difference, last[component] = value - last[component], value
                bits.append(coded(difference, component == 0))
    text = "".join(bits)
    text += "1" * (-len(text) % 8)
    data = int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\0")
    return b"\xff\xd8" + quantization + frame + scan + data + b"\xff\xd9"


def coded(difference, is_luminance):
    """T.81, F.1.2.1."""
    category = abs(difference).bit_length()
    value = difference if difference >= 0 else difference + (1 << category) - 1
    code = (DC_LUMINANCE if is_luminance else DC_CHROMINANCE)[category]
    end = END_OF_BLOCK_LUMINANCE if is_luminance else END_OF_BLOCK_CHROMINANCE
    return code + (format(value, f"0{category}b") if category else "") + end
