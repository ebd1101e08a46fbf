/* SPDX-License-Identifier: GPL-2.0 */
/* Writes the bits of a NAL unit: start code, Exp-Golomb codes, emulation prevention. */
#ifndef H264_BITS_H
#define H264_BITS_H

#include "coder.h"

struct h264_bits {
	u8 *pos, *end;
	u64 pending;
	u32 pending_bits;
	u32 zeros;		/* bytes just written */
	bool overflow;
};

static inline void bits_raw_byte(struct h264_bits *b, u8 value)
{
	if (b->pos < b->end)
		*b->pos++ = value;
	else
		b->overflow = true;
}

static inline void bits_byte(struct h264_bits *b, u8 value)
{
	if (b->zeros >= 2 && value <= 3) {
		bits_raw_byte(b, 3);
		b->zeros = 0;
	}
	bits_raw_byte(b, value);
	b->zeros = value ? 0 : b->zeros + 1;
}

/* The low @count bits of @value, at most 32. */
static inline void bits_put(struct h264_bits *b, u32 count, u32 value)
{
	b->pending = b->pending << count | (value & (count == 32 ? ~0u : (1u << count) - 1));
	b->pending_bits += count;
	while (b->pending_bits >= 8) {
		b->pending_bits -= 8;
		bits_byte(b, (u8)(b->pending >> b->pending_bits));
	}
}

/* ue(v), 9.1 */
static inline void bits_ue(struct h264_bits *b, u32 value)
{
	u32 length = 0;

	while ((value + 1) >> (length + 1))
		length++;
	bits_put(b, length, 0);
	bits_put(b, length + 1, value + 1);
}

/* se(v), 9.1.1 */
static inline void bits_se(struct h264_bits *b, s32 value)
{
	bits_ue(b, value > 0 ? 2 * value - 1 : -2 * value);
}

static inline void bits_align(struct h264_bits *b)
{
	if (b->pending_bits)
		bits_put(b, 8 - b->pending_bits, 0);
}

static inline void bits_start_nal(struct h264_bits *b, u8 header)
{
	bits_raw_byte(b, 0);
	bits_raw_byte(b, 0);
	bits_raw_byte(b, 0);
	bits_raw_byte(b, 1);
	b->zeros = 0;
	b->pending = 0;
	b->pending_bits = 0;
	bits_byte(b, header);
}

static inline void bits_end_nal(struct h264_bits *b)
{
	bits_put(b, 1, 1);
	bits_align(b);
}

/* 7.3.5.3.2: @coef in scan order. Returns TotalCoeff. @nc: see 9.2.1, -1 for chroma DC. */
u32 h264_write_residual(struct h264_bits *b, const s32 *coef, u32 max, s32 nc);

#endif
