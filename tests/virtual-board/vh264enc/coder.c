// SPDX-License-Identifier: GPL-2.0
/*
 * The coder: headers, transform, macroblocks, pictures. Numbers in comments are sections of ITU-T
 * H.264.
 */
#include "bits.h"

/* Figure 6-10: where the 4x4 blocks of a macroblock lie, in coding order. */
static const u8 block_x[16] = { 0, 1, 0, 1, 2, 3, 2, 3, 0, 1, 0, 1, 2, 3, 2, 3 };
static const u8 block_y[16] = { 0, 0, 1, 1, 0, 0, 1, 1, 2, 2, 3, 3, 2, 2, 3, 3 };
static const u8 zigzag[16] = { 0, 1, 4, 8, 5, 2, 3, 6, 9, 12, 13, 10, 7, 11, 14, 15 };

/* Table 8-15: QPc for QPy 30 and more. */
static const u8 chroma_qp[22] = { 29, 30, 31, 32, 32, 33, 34, 34, 35, 35, 36,
				  36, 37, 37, 37, 38, 38, 38, 39, 39, 39, 39 };

/*
 * Per QP % 6 and kind of position: (even, even), (odd, odd), the others. Dequantizers are those
 * of 8.5.9.
 */
static const u16 quantizers[6][3] = { { 13107, 5243, 8066 }, { 11916, 4660, 7490 },
				      { 10082, 4194, 6554 }, { 9362, 3647, 5825 },
				      { 8192, 3355, 5243 },  { 7282, 2893, 4559 } };
static const u8 dequantizers[6][3] = { { 10, 16, 13 }, { 11, 18, 14 }, { 13, 20, 16 },
				       { 14, 23, 18 }, { 16, 25, 20 }, { 18, 29, 23 } };

static u32 position_kind(u32 raster)
{
	bool odd_x = raster & 1, odd_y = raster >> 2 & 1;

	return odd_x && odd_y ? 1 : odd_x || odd_y ? 2 : 0;
}

/* ---- headers ---- */

/* 7.3.2.1 and E.1.1. The VUI says that pictures leave a decoder at once. */
static void put_sequence_parameters(struct h264_bits *b, const struct h264_coder *coder)
{
	u32 crop_right = coder->mb_width * 16 - coder->width;
	u32 crop_bottom = coder->mb_height * 16 - coder->height;

	bits_start_nal(b, 0x67);
	bits_put(b, 8, coder->profile_idc);
	bits_put(b, 8, coder->constraint_flags);
	bits_put(b, 8, coder->level_idc);
	bits_ue(b, 0);			/* seq_parameter_set_id */
	bits_ue(b, 4);			/* log2_max_frame_num_minus4 */
	bits_ue(b, 2);			/* pic_order_cnt_type: output as decoded */
	bits_ue(b, 1);			/* max_num_ref_frames */
	bits_put(b, 1, 0);		/* gaps_in_frame_num_value_allowed_flag */
	bits_ue(b, coder->mb_width - 1);
	bits_ue(b, coder->mb_height - 1);
	bits_put(b, 1, 1);		/* frame_mbs_only_flag */
	bits_put(b, 1, 1);		/* direct_8x8_inference_flag */
	bits_put(b, 1, crop_right || crop_bottom);
	if (crop_right || crop_bottom) {
		bits_ue(b, 0);
		bits_ue(b, crop_right / 2);
		bits_ue(b, 0);
		bits_ue(b, crop_bottom / 2);
	}
	bits_put(b, 1, 1);		/* vui_parameters_present_flag */
	bits_put(b, 4, 0);		/* no aspect ratio, overscan, signal, chroma */
	bits_put(b, 1, coder->rate_num != 0);
	if (coder->rate_num) {
		bits_put(b, 32, coder->rate_den);	/* num_units_in_tick: of a field */
		bits_put(b, 32, coder->rate_num * 2);
		bits_put(b, 1, 0);			/* fixed_frame_rate_flag */
	}
	bits_put(b, 3, 0);		/* no NAL HRD, VCL HRD, pic_struct */
	bits_put(b, 1, 1);		/* bitstream_restriction_flag */
	bits_put(b, 1, 1);		/* motion_vectors_over_pic_boundaries_flag */
	bits_ue(b, 0);			/* max_bytes_per_pic_denom */
	bits_ue(b, 0);			/* max_bits_per_mb_denom */
	bits_ue(b, 10);			/* log2_max_mv_length_horizontal */
	bits_ue(b, 10);			/* log2_max_mv_length_vertical */
	bits_ue(b, 0);			/* max_num_reorder_frames */
	bits_ue(b, 1);			/* max_dec_frame_buffering */
	bits_end_nal(b);
}

/* 7.3.2.2 */
static void put_picture_parameters(struct h264_bits *b)
{
	bits_start_nal(b, 0x68);
	bits_ue(b, 0);			/* pic_parameter_set_id */
	bits_ue(b, 0);			/* seq_parameter_set_id */
	bits_put(b, 2, 0);		/* CAVLC, no bottom_field_pic_order */
	bits_ue(b, 0);			/* one slice group */
	bits_ue(b, 0);			/* num_ref_idx_l0_default_active_minus1 */
	bits_ue(b, 0);			/* num_ref_idx_l1_default_active_minus1 */
	bits_put(b, 3, 0);		/* no weighted prediction */
	bits_se(b, 0);			/* pic_init_qp_minus26 */
	bits_se(b, 0);			/* pic_init_qs_minus26 */
	bits_se(b, 0);			/* chroma_qp_index_offset */
	bits_put(b, 1, 1);		/* deblocking_filter_control_present_flag */
	bits_put(b, 2, 0);		/* no constrained intra, no redundant pictures */
	bits_end_nal(b);
}

u32 h264_write_headers(const struct h264_coder *coder, u8 *out, u32 room)
{
	struct h264_bits b = { .pos = out, .end = out + room };

	put_sequence_parameters(&b, coder);
	put_picture_parameters(&b);
	return b.overflow ? 0 : b.pos - out;
}

/* ---- transform and quantization ---- */

/* The forward 4x4 transform of a block's difference from its (flat) prediction. */
static void transform(s32 *out, const u8 *src, u32 stride, s32 prediction)
{
	s32 t[16];
	u32 i;

	for (i = 0; i < 4; i++, src += stride) {
		s32 a = src[0] - prediction, b = src[1] - prediction;
		s32 c = src[2] - prediction, d = src[3] - prediction;

		t[4 * i] = a + d + b + c;
		t[4 * i + 1] = 2 * (a - d) + (b - c);
		t[4 * i + 2] = a + d - (b + c);
		t[4 * i + 3] = (a - d) - 2 * (b - c);
	}
	for (i = 0; i < 4; i++) {
		s32 a = t[i], b = t[4 + i], c = t[8 + i], d = t[12 + i];

		out[i] = a + d + b + c;
		out[4 + i] = 2 * (a - d) + (b - c);
		out[8 + i] = a + d - (b + c);
		out[12 + i] = (a - d) - 2 * (b - c);
	}
}

static u8 clip(s32 value)
{
	return value < 0 ? 0 : value > 255 ? 255 : value;
}

/* 8.5.12: the inverse transform, added to the prediction. Destroys @c. */
static void inverse_transform(u8 *dst, u32 stride, s32 *c, s32 prediction)
{
	u32 i, k;

	for (i = 0; i < 4; i++) {
		s32 *r = c + 4 * i;
		s32 e = r[0] + r[2], f = r[0] - r[2];
		s32 g = (r[1] >> 1) - r[3], h = r[1] + (r[3] >> 1);

		r[0] = e + h;
		r[1] = f + g;
		r[2] = f - g;
		r[3] = e - h;
	}
	for (i = 0; i < 4; i++) {
		s32 e = c[i] + c[8 + i], f = c[i] - c[8 + i];
		s32 g = (c[4 + i] >> 1) - c[12 + i], h = c[4 + i] + (c[12 + i] >> 1);
		s32 column[4] = { e + h, f + g, f - g, e - h };

		for (k = 0; k < 4; k++)
			dst[k * stride + i] = clip(prediction + ((column[k] + 32) >> 6));
	}
}

/* 8.5.10: the 4x4 Hadamard transform, its own inverse. */
static void hadamard(s32 *out, const s32 *in)
{
	s32 t[16];
	u32 i;

	for (i = 0; i < 4; i++) {
		const s32 *r = in + 4 * i;
		s32 a = r[0] + r[1], b = r[0] - r[1], c = r[2] + r[3], d = r[2] - r[3];

		t[4 * i] = a + c;
		t[4 * i + 1] = a - c;
		t[4 * i + 2] = b - d;
		t[4 * i + 3] = b + d;
	}
	for (i = 0; i < 4; i++) {
		s32 a = t[i] + t[4 + i], b = t[i] - t[4 + i];
		s32 c = t[8 + i] + t[12 + i], d = t[8 + i] - t[12 + i];

		out[i] = a + c;
		out[4 + i] = a - c;
		out[8 + i] = b - d;
		out[12 + i] = b + d;
	}
}

/* Baseline's CAVLC cannot say more than 2063. */
static s32 quantize(s32 value, u32 factor, u32 rounding, u32 shift)
{
	u32 magnitude = value < 0 ? -value : value;
	s32 level = (s32)(((u64)magnitude * factor + rounding) >> shift);

	if (level > 2063)
		level = 2063;
	return value < 0 ? -level : level;
}

/* AC coefficients of one block, into scan order. Returns whether any is left. */
static bool quantize_ac(s32 *out, const s32 *block, u32 qp)
{
	u32 shift = 15 + qp / 6, k;
	bool any = false;

	out[0] = 0;
	for (k = 1; k < 16; k++) {
		u32 raster = zigzag[k];

		out[k] = quantize(block[raster], quantizers[qp % 6][position_kind(raster)],
				  (1u << shift) / 3, shift);
		any |= out[k] != 0;
	}
	return any;
}

static s32 quantize_dc(s32 value, u32 qp)
{
	u32 shift = 15 + qp / 6;

	return quantize(value, quantizers[qp % 6][0], 2 * ((1u << shift) / 3), shift + 1);
}

static void dequantize_ac(s32 *block, const s32 *levels, u32 qp)
{
	u32 k;

	for (k = 1; k < 16; k++) {
		u32 raster = zigzag[k];

		block[raster] =
			levels[k] * dequantizers[qp % 6][position_kind(raster)] * (1 << qp / 6);
	}
}

/* ---- one macroblock ---- */

static u32 luma_stride(const struct h264_coder *coder)
{
	return coder->mb_width * 16;
}

static u32 chroma_stride(const struct h264_coder *coder)
{
	return coder->mb_width * 8;
}

static u8 *luma_at(const struct h264_coder *coder, u8 *const planes[3], u32 mx, u32 my)
{
	return planes[0] + my * 16 * luma_stride(coder) + mx * 16;
}

static u8 *chroma_at(const struct h264_coder *coder, u8 *const planes[3], u32 p, u32 mx, u32 my)
{
	return planes[1 + p] + my * 8 * chroma_stride(coder) + mx * 8;
}

static u32 at_most(u32 value, u32 limit)
{
	return value < limit ? value : limit;
}

/* Copies the source's samples; beyond its edge the last row and column go on. */
static void load_macroblock(struct h264_coder *coder, const struct h264_picture *pic, u32 mx,
			    u32 my)
{
	u32 x, y;

	for (y = 0; y < 16; y++) {
		const u8 *row = pic->y + at_most(my * 16 + y, coder->height - 1) * pic->y_stride;

		for (x = 0; x < 16; x++)
			coder->luma[y * 16 + x] =
				row[at_most(mx * 16 + x, coder->width - 1) * pic->y_step];
	}
	for (y = 0; y < 8; y++) {
		u32 row = at_most(my * 8 + y, coder->height / 2 - 1) * 2 / pic->c_vdiv *
			  pic->c_stride;

		for (x = 0; x < 8; x++) {
			u32 at = row + at_most(mx * 8 + x, coder->width / 2 - 1) * pic->c_step;

			coder->chroma[0][y * 8 + x] = pic->u[at];
			coder->chroma[1][y * 8 + x] = pic->v[at];
		}
	}
}

static u32 block_difference(const u8 *a, u32 a_stride, const u8 *b, u32 b_stride, u32 side)
{
	u32 sum = 0, x, y;

	for (y = 0; y < side; y++)
		for (x = 0; x < side; x++) {
			s32 d = a[y * a_stride + x] - b[y * b_stride + x];

			sum += d < 0 ? -d : d;
		}
	return sum;
}

/*
 * Compared with the source as last coded, not with its reconstruction: a still picture is coded
 * once.
 */
static bool is_unchanged(const struct h264_coder *coder, u32 mx, u32 my)
{
	u32 sum = block_difference(coder->luma, 16, luma_at(coder, coder->last, mx, my),
				   luma_stride(coder), 16);
	u32 p;

	for (p = 0; p < 2; p++)
		sum += block_difference(coder->chroma[p], 8,
					chroma_at(coder, coder->last, p, mx, my),
					chroma_stride(coder), 8);
	return sum <= coder->skip_threshold;
}

static void store_macroblock(const struct h264_coder *coder, u8 *const planes[3], u32 mx, u32 my)
{
	u32 y, p;

	for (y = 0; y < 16; y++)
		memcpy(luma_at(coder, planes, mx, my) + y * luma_stride(coder),
		       coder->luma + y * 16, 16);
	for (p = 0; p < 2; p++)
		for (y = 0; y < 8; y++)
			memcpy(chroma_at(coder, planes, p, mx, my) + y * chroma_stride(coder),
			       coder->chroma[p] + y * 8, 8);
}

static void set_nonzero(struct h264_coder *coder, u32 mx, u32 my, u8 value)
{
	u32 y, p;

	for (y = 0; y < 4; y++)
		memset(coder->nonzero[0] + (my * 4 + y) * coder->mb_width * 4 + mx * 4, value, 4);
	for (p = 1; p < 3; p++)
		for (y = 0; y < 2; y++)
			memset(coder->nonzero[p] + (my * 2 + y) * coder->mb_width * 2 + mx * 2,
			       value, 2);
}

/* 9.2.1: nC from the blocks to the left and above. */
static s32 expected_nonzero(const u8 *counts, u32 stride, u32 x, u32 y)
{
	const u8 *here = counts + y * stride + x;

	if (x && y)
		return (here[-1] + *(here - stride) + 1) >> 1;
	if (x)
		return here[-1];
	return y ? *(here - stride) : 0;
}

/* 7.3.5: macroblock types 25 (I slice) and 30 (P slice). */
static void code_pcm(struct h264_coder *coder, struct h264_bits *b, u32 mx, u32 my, bool idr)
{
	u32 i;

	bits_ue(b, idr ? 25 : 30);
	bits_align(b);
	for (i = 0; i < 256; i++)
		bits_put(b, 8, coder->luma[i]);
	for (i = 0; i < 128; i++)
		bits_put(b, 8, coder->chroma[i / 64][i % 64]);
	store_macroblock(coder, coder->recon, mx, my);
	set_nonzero(coder, mx, my, 16);
}

static u32 sum_row(const u8 *samples, u32 count)
{
	u32 sum = 0, i;

	for (i = 0; i < count; i++)
		sum += samples[i];
	return sum;
}

static u32 sum_column(const u8 *samples, u32 stride, u32 count)
{
	u32 sum = 0, i;

	for (i = 0; i < count; i++)
		sum += samples[i * stride];
	return sum;
}

/* 8.3.3.3 */
static s32 predict_luma(const struct h264_coder *coder, u32 mx, u32 my)
{
	u32 stride = luma_stride(coder);
	const u8 *here = luma_at(coder, coder->recon, mx, my);
	u32 above = my ? sum_row(here - stride, 16) : 0;
	u32 left = mx ? sum_column(here - 1, stride, 16) : 0;

	if (mx && my)
		return (above + left + 16) >> 5;
	return mx || my ? (above + left + 8) >> 4 : 128;
}

/* 8.3.4.1-3: each 4x4 block prefers the edge it touches. */
static s32 predict_chroma(const u8 *here, u32 stride, u32 bx, u32 by, bool has_left, bool has_above)
{
	u32 above = has_above ? sum_row(here - stride + bx * 4, 4) : 0;
	u32 left = has_left ? sum_column(here + by * 4 * stride - 1, stride, 4) : 0;

	if (!has_left && !has_above)
		return 128;
	if (bx == by && has_left && has_above)
		return (above + left + 4) >> 3;
	if (has_above && (bx > by || !has_left))
		return (above + 2) >> 2;
	return (left + 2) >> 2;
}

/* Fills luma_dc and luma_ac; returns whether any AC coefficient is left. */
static bool transform_luma(struct h264_coder *coder, s32 prediction, u32 qp)
{
	s32 block[16], dc[16];
	bool any = false;
	u32 i, k;

	for (i = 0; i < 16; i++) {
		transform(block, coder->luma + (i >> 2) * 64 + (i & 3) * 4, 16, prediction);
		dc[i] = block[0];
		any |= quantize_ac(coder->luma_ac[i], block, qp);
	}
	hadamard(block, dc);
	for (k = 0; k < 16; k++) {
		s32 value = block[zigzag[k]];

		value = value < 0 ? -((1 - value) >> 1) : (value + 1) >> 1;
		coder->luma_dc[k] = quantize_dc(value, qp);
	}
	return any;
}

/* Fills chroma_dc and chroma_ac; returns the chroma part of coded_block_pattern. */
static u32 transform_chroma(struct h264_coder *coder, s32 prediction[2][4], u32 qp, u32 mx, u32 my)
{
	u32 pattern = 0, p, i;
	s32 block[16], d[4];

	for (p = 0; p < 2; p++) {
		const u8 *here = chroma_at(coder, coder->recon, p, mx, my);
		s32 *dc = coder->chroma_dc[p];

		for (i = 0; i < 4; i++) {
			u32 bx = i & 1, by = i >> 1;

			prediction[p][i] =
				predict_chroma(here, chroma_stride(coder), bx, by, mx, my);
			transform(block, coder->chroma[p] + by * 32 + bx * 4, 8, prediction[p][i]);
			d[i] = block[0];
			if (quantize_ac(coder->chroma_ac[p][i], block, qp))
				pattern = 2;
		}
		dc[0] = quantize_dc(d[0] + d[1] + d[2] + d[3], qp);
		dc[1] = quantize_dc(d[0] - d[1] + d[2] - d[3], qp);
		dc[2] = quantize_dc(d[0] + d[1] - d[2] - d[3], qp);
		dc[3] = quantize_dc(d[0] - d[1] - d[2] + d[3], qp);
		if (!pattern && (dc[0] || dc[1] || dc[2] || dc[3]))
			pattern = 1;
	}
	return pattern;
}

static void put_luma_residual(struct h264_coder *coder, struct h264_bits *b, u32 mx, u32 my,
			      bool ac)
{
	u32 stride = coder->mb_width * 4, i;
	u8 *counts = coder->nonzero[0];

	h264_write_residual(b, coder->luma_dc, 16,
			    expected_nonzero(counts, stride, mx * 4, my * 4));
	set_nonzero(coder, mx, my, 0);
	for (i = 0; ac && i < 16; i++) {
		u32 x = mx * 4 + block_x[i], y = my * 4 + block_y[i];

		counts[y * stride + x] =
			h264_write_residual(b, coder->luma_ac[block_y[i] * 4 + block_x[i]] + 1, 15,
					    expected_nonzero(counts, stride, x, y));
	}
}

static void put_chroma_residual(struct h264_coder *coder, struct h264_bits *b, u32 mx, u32 my,
				u32 pattern)
{
	u32 stride = coder->mb_width * 2, p, i;

	for (p = 0; pattern && p < 2; p++)
		h264_write_residual(b, coder->chroma_dc[p], 4, -1);
	for (p = 0; pattern == 2 && p < 2; p++) {
		u8 *counts = coder->nonzero[1 + p];

		for (i = 0; i < 4; i++) {
			u32 x = mx * 2 + (i & 1), y = my * 2 + (i >> 1);

			counts[y * stride + x] =
				h264_write_residual(b, coder->chroma_ac[p][i] + 1, 15,
						    expected_nonzero(counts, stride, x, y));
		}
	}
}

/* 8.5.2 */
static void reconstruct_luma(struct h264_coder *coder, u32 mx, u32 my, s32 prediction, u32 qp)
{
	u8 *here = luma_at(coder, coder->recon, mx, my);
	s32 scale = 16 * dequantizers[qp % 6][0], block[16], dc[16];
	u32 step = qp / 6, i;

	for (i = 0; i < 16; i++)
		block[zigzag[i]] = coder->luma_dc[i];
	hadamard(dc, block);
	for (i = 0; i < 16; i++) {
		if (step >= 6)
			block[0] = dc[i] * scale * (1 << (step - 6));
		else
			block[0] = (dc[i] * scale + (1 << (5 - step))) >> (6 - step);
		dequantize_ac(block, coder->luma_ac[i], qp);
		inverse_transform(here + (i >> 2) * 4 * luma_stride(coder) + (i & 3) * 4,
				  luma_stride(coder), block, prediction);
	}
}

/* 8.5.4 */
static void reconstruct_chroma(struct h264_coder *coder, u32 mx, u32 my, s32 prediction[2][4],
			       u32 pattern, u32 qp)
{
	s32 block[16];
	u32 p, i;

	for (p = 0; p < 2; p++) {
		u8 *here = chroma_at(coder, coder->recon, p, mx, my);
		const s32 *c = coder->chroma_dc[p];
		s32 dc[4] = { c[0] + c[1] + c[2] + c[3], c[0] - c[1] + c[2] - c[3],
			      c[0] + c[1] - c[2] - c[3], c[0] - c[1] - c[2] + c[3] };

		for (i = 0; i < 4; i++) {
			memset(block, 0, sizeof(block));
			if (pattern == 2)
				dequantize_ac(block, coder->chroma_ac[p][i], qp);
			block[0] = (dc[i] * 16 * dequantizers[qp % 6][0] * (1 << qp / 6)) >> 5;
			inverse_transform(here + (i >> 1) * 4 * chroma_stride(coder) + (i & 1) * 4,
					  chroma_stride(coder), block, prediction[p][i]);
		}
	}
}

static void code_intra16x16(struct h264_coder *coder, struct h264_bits *b, u32 mx, u32 my, bool idr,
			    u32 qp)
{
	u32 qp_chroma = qp < 30 ? qp : chroma_qp[qp - 30], chroma_pattern;
	s32 luma_prediction = predict_luma(coder, mx, my), chroma_prediction[2][4];
	bool luma_ac = transform_luma(coder, luma_prediction, qp);

	chroma_pattern = transform_chroma(coder, chroma_prediction, qp_chroma, mx, my);

	/* Table 7-11: DC prediction is mode 2; I macroblocks in P slices count from 5. */
	bits_ue(b, (idr ? 0 : 5) + 1 + 2 + 4 * chroma_pattern + (luma_ac ? 12 : 0));
	bits_ue(b, 0);			/* intra_chroma_pred_mode: DC */
	bits_se(b, 0);			/* mb_qp_delta */
	put_luma_residual(coder, b, mx, my, luma_ac);
	put_chroma_residual(coder, b, mx, my, chroma_pattern);

	reconstruct_luma(coder, mx, my, luma_prediction, qp);
	reconstruct_chroma(coder, mx, my, chroma_prediction, chroma_pattern, qp_chroma);
}

/* ---- pictures ---- */

/* 7.3.3 */
static void put_slice_header(struct h264_bits *b, const struct h264_coder *coder, bool idr, u32 qp)
{
	bits_start_nal(b, idr ? 0x65 : 0x41);
	bits_ue(b, 0);			/* first_mb_in_slice */
	bits_ue(b, idr ? 7 : 5);	/* slice_type: all I, all P */
	bits_ue(b, 0);			/* pic_parameter_set_id */
	bits_put(b, 8, coder->frame_num);
	if (idr) {
		bits_ue(b, coder->idr_pic_id);
		bits_put(b, 2, 0);	/* no_output_of_prior_pics, long_term_reference */
	} else {
		bits_put(b, 3, 0);	/* no override, no list modification, no marking */
	}
	bits_se(b, (s32)qp - 26);
	bits_ue(b, 1);			/* disable_deblocking_filter_idc */
}

u32 h264_write_picture(struct h264_coder *coder, const struct h264_picture *pic, u8 *out, u32 room,
		       bool idr, u32 qp)
{
	struct h264_bits b = { .pos = out, .end = out + room };
	u32 mx, my, skipped = 0;

	if (idr) {
		coder->frame_num = 0;
		coder->idr_pic_id = (coder->idr_pic_id + 1) & 0xff;
	}
	put_slice_header(&b, coder, idr, qp);
	for (my = 0; my < coder->mb_height && !b.overflow; my++) {
		for (mx = 0; mx < coder->mb_width; mx++) {
			load_macroblock(coder, pic, mx, my);
			if (!idr && is_unchanged(coder, mx, my)) {
				skipped++;
				set_nonzero(coder, mx, my, 0);
				continue;
			}
			if (!idr)
				bits_ue(&b, skipped);
			skipped = 0;
			if (coder->pcm)
				code_pcm(coder, &b, mx, my, idr);
			else
				code_intra16x16(coder, &b, mx, my, idr, qp);
			store_macroblock(coder, coder->last, mx, my);
		}
		cond_resched();
	}
	if (skipped)
		bits_ue(&b, skipped);
	bits_end_nal(&b);
	coder->frame_num = (coder->frame_num + 1) & 0xff;
	return b.overflow ? 0 : b.pos - out;
}

static u32 macroblocks(u32 width, u32 height)
{
	return (width + 15) / 16 * ((height + 15) / 16);
}

/* Per macroblock: two pictures of 384 bytes, and 24 counts. */
u32 h264_memory_size(u32 width, u32 height)
{
	return macroblocks(width, height) * (2 * 384 + 24);
}

void h264_init(struct h264_coder *coder, u8 *memory, u32 width, u32 height)
{
	u32 count = macroblocks(width, height), p;

	memset(coder, 0, sizeof(*coder));
	coder->width = width;
	coder->height = height;
	coder->mb_width = (width + 15) / 16;
	coder->mb_height = (height + 15) / 16;
	for (p = 0; p < 3; p++) {
		u32 samples = count * (p ? 64 : 256), blocks = count * (p ? 4 : 16);

		coder->recon[p] = memory;
		coder->last[p] = memory + samples;
		coder->nonzero[p] = memory + 2 * samples;
		memory += 2 * samples + blocks;
	}
}
