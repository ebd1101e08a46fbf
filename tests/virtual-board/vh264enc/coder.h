/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A small Constrained Baseline H.264 encoder (ITU-T H.264): Intra16x16 with DC prediction, P_Skip
 * and I_PCM macroblocks, CAVLC, one slice a picture, no deblocking, integers only. Builds in the
 * kernel and, for check-coder, in user space.
 */
#ifndef H264_CODER_H
#define H264_CODER_H

#ifdef __KERNEL__
#include <linux/sched.h>
#include <linux/string.h>
#include <linux/types.h>
#else
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int32_t s32;
#define cond_resched() do { } while (0)
#endif

/* A source picture; chroma rows are every c_vdiv-th luma row. */
struct h264_picture {
	const u8 *y, *u, *v;
	u32 y_stride, c_stride;
	u32 y_step, c_step;	/* bytes from one sample to the next */
	u32 c_vdiv;
};

struct h264_coder {
	/* set after h264_init */
	u8 profile_idc, constraint_flags, level_idc;
	u32 rate_num, rate_den;	/* pictures per second */
	bool pcm;
	u32 skip_threshold;	/* a macroblock that differs less is not coded again */

	u32 width, height;
	u32 mb_width, mb_height;
	u32 frame_num, idr_pic_id;
	u8 *recon[3];		/* what a decoder has */
	u8 *last[3];		/* the source as it was when last coded */
	u8 *nonzero[3];		/* TotalCoeff of each 4x4 block */

	/* one macroblock */
	u8 luma[256], chroma[2][64];
	s32 luma_ac[16][16], luma_dc[16];
	s32 chroma_ac[2][4][16], chroma_dc[2][4];
};

u32 h264_memory_size(u32 width, u32 height);
/* @memory: zeroed, h264_memory_size() bytes, kept by the caller until the next h264_init. */
void h264_init(struct h264_coder *coder, u8 *memory, u32 width, u32 height);
/* Both return the bytes written, or 0 when they did not fit. */
u32 h264_write_headers(const struct h264_coder *coder, u8 *out, u32 room);
u32 h264_write_picture(struct h264_coder *coder, const struct h264_picture *pic, u8 *out, u32 room,
		       bool idr, u32 qp);

#endif
