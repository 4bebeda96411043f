"""Reads the latency strip: 64 black or white cells, 16 px high, along the bottom edge."""

from dataclasses import dataclass

CELLS = 64
CELL_HEIGHT = 16
SYNC = 0b10100101


@dataclass
class Strip:
    time_ms: int
    frame: int


def crc8(data: bytes) -> int:
    """CRC-8 with polynomial 0x07 and initial value 0."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = ((crc << 1) ^ 0x07 if crc & 0x80 else crc << 1) & 0xFF
    return crc


def read(luma) -> Strip | None:
    """The strip of a picture given as rows of luma; None where there is none or it is damaged."""
    height, width = luma.shape
    cell = width // CELLS
    row = luma[height - CELL_HEIGHT // 2]
    bits = 0
    for index in range(CELLS):
        bits = bits << 1 | int(row[index * cell + cell // 2] > 127)
    data = bits.to_bytes(8, "big")
    if data[0] != SYNC or crc8(data[1:7]) != data[7]:
        return None
    return Strip(int.from_bytes(data[1:5], "big"), int.from_bytes(data[5:7], "big"))
