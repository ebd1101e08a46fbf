// SPDX-License-Identifier: GPL-2.0
/* CAVLC, ITU-T H.264 9.2. */
#include "bits.h"
#include "h264_tables.h"

static void put_code(struct h264_bits *b, struct h264_code code)
{
	bits_put(b, code.length, code.bits);
}

static void put_coeff_token(struct h264_bits *b, u32 total, u32 ones, s32 nc)
{
	if (nc < 0)
		put_code(b, h264_coeff_token_chroma_dc[total][ones]);
	else if (nc >= 8)
		bits_put(b, 6, total ? (total - 1) << 2 | ones : 3);
	else
		put_code(b, h264_coeff_token[nc < 2 ? 0 : nc < 4 ? 1 : 2][total][ones]);
}

/* 9.2.2.1: level_prefix zeros and a one, then @suffix_bits of @suffix. */
static void put_level_code(struct h264_bits *b, u32 prefix, u32 suffix_bits, u32 suffix)
{
	bits_put(b, prefix, 0);
	bits_put(b, 1, 1);
	bits_put(b, suffix_bits, suffix);
}

static void put_level(struct h264_bits *b, u32 code, u32 suffix_length)
{
	if (!suffix_length && code < 14)
		put_level_code(b, code, 0, 0);
	else if (!suffix_length && code < 30)
		put_level_code(b, 14, 4, code - 14);
	else if (!suffix_length)
		put_level_code(b, 15, 12, code - 30);
	else if (code >> suffix_length < 15)
		put_level_code(b, code >> suffix_length, suffix_length, code);
	else
		put_level_code(b, 15, 12, code - (15 << suffix_length));
}

static void put_levels(struct h264_bits *b, const s32 *levels, u32 total, u32 ones)
{
	u32 suffix_length = total > 10 && ones < 3, i;

	for (i = ones; i < total; i++) {
		s32 level = levels[total - 1 - i];
		u32 magnitude = level < 0 ? -level : level;
		u32 code = level > 0 ? 2 * magnitude - 2 : 2 * magnitude - 1;

		/* With fewer than three trailing ones the next level cannot be one. */
		if (i == ones && ones < 3)
			code -= 2;
		put_level(b, code, suffix_length);
		if (!suffix_length)
			suffix_length = 1;
		if (magnitude > 3u << (suffix_length - 1) && suffix_length < 6)
			suffix_length++;
	}
}

u32 h264_write_residual(struct h264_bits *b, const s32 *coef, u32 max, s32 nc)
{
	u32 total = 0, ones = 0, zeros = 0, run = 0, i;
	s32 levels[16];
	u8 runs[16];

	for (i = 0; i < max; i++) {
		if (!coef[i]) {
			run++;
			continue;
		}
		levels[total] = coef[i];
		runs[total++] = run;
		zeros += run;
		run = 0;
	}
	while (ones < 3 && ones < total &&
	       (levels[total - 1 - ones] == 1 || levels[total - 1 - ones] == -1))
		ones++;

	put_coeff_token(b, total, ones, nc);
	if (!total)
		return 0;
	for (i = 0; i < ones; i++)
		bits_put(b, 1, levels[total - 1 - i] < 0);
	put_levels(b, levels, total, ones);
	if (total < max)
		put_code(b, max == 4 ? h264_total_zeros_chroma_dc[total - 1][zeros] :
				       h264_total_zeros[total - 1][zeros]);
	for (i = total - 1; i > 0 && zeros > 0; i--) {
		put_code(b, h264_run_before[zeros > 6 ? 6 : zeros - 1][runs[i]]);
		zeros -= runs[i];
	}
	return total;
}
