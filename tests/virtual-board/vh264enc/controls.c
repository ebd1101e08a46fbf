// SPDX-License-Identifier: GPL-2.0
/* The encoder's controls, and what a level allows. */
#include "vh264enc.h"

/* ITU-T H.264, Table A-1, in the order of enum v4l2_mpeg_video_h264_level. */
static const struct vh_level {
	u8 idc;
	u32 macroblocks_per_second;
	u32 macroblocks_per_frame;
	u32 kbit_per_second;
} vh_levels[] = {
	{ 10, 1485, 99, 64 },
	{ 11, 1485, 99, 128 },		/* 1b: with constraint_set3_flag */
	{ 11, 3000, 396, 192 },
	{ 12, 6000, 396, 384 },
	{ 13, 11880, 396, 768 },
	{ 20, 11880, 396, 2000 },
	{ 21, 19800, 792, 4000 },
	{ 22, 20250, 1620, 4000 },
	{ 30, 40500, 1620, 10000 },
	{ 31, 108000, 3600, 14000 },
	{ 32, 216000, 5120, 20000 },
	{ 40, 245760, 8192, 20000 },
	{ 41, 245760, 8192, 50000 },
	{ 42, 522240, 8704, 50000 },
	{ 50, 589824, 22080, 135000 },
	{ 51, 983040, 36864, 240000 },
};

u8 vh_level_idc(const struct vh_ctx *ctx)
{
	return vh_levels[ctx->level].idc;
}

bool vh_level_suffices(const struct vh_ctx *ctx)
{
	const struct vh_level *level = &vh_levels[ctx->level];
	u32 macroblocks = DIV_ROUND_UP(ctx->crop.width, 16) * DIV_ROUND_UP(ctx->crop.height, 16);
	u64 rate = (u64)macroblocks * ctx->frame_interval.denominator;

	return macroblocks <= level->macroblocks_per_frame &&
	       rate <= (u64)level->macroblocks_per_second * ctx->frame_interval.numerator &&
	       ctx->bitrate <= level->kbit_per_second * 1000;
}

static int vh_s_ctrl(struct v4l2_ctrl *ctrl)
{
	struct vh_ctx *ctx = container_of(ctrl->handler, struct vh_ctx, controls);

	switch (ctrl->id) {
	case V4L2_CID_MPEG_VIDEO_GOP_SIZE:
		ctx->gop = ctrl->val;
		break;
	case V4L2_CID_MPEG_VIDEO_BITRATE:
		ctx->bitrate = ctrl->val;
		break;
	case V4L2_CID_MPEG_VIDEO_BITRATE_MODE:
		ctx->bitrate_mode = ctrl->val;
		break;
	case V4L2_CID_MPEG_VIDEO_FRAME_RC_ENABLE:
		ctx->rate_control = ctrl->val;
		break;
	case V4L2_CID_MPEG_VIDEO_FORCE_KEY_FRAME:
		atomic_set(&ctx->force_key, 1);
		break;
	case V4L2_CID_MPEG_VIDEO_REPEAT_SEQ_HEADER:
		ctx->repeat_headers = ctrl->val;
		break;
	case V4L2_CID_MPEG_VIDEO_HEADER_MODE:
		ctx->separate_headers = ctrl->val == V4L2_MPEG_VIDEO_HEADER_MODE_SEPARATE;
		break;
	case V4L2_CID_MPEG_VIDEO_H264_MIN_QP:
		ctx->min_qp = ctrl->val;
		break;
	case V4L2_CID_MPEG_VIDEO_H264_MAX_QP:
		ctx->max_qp = ctrl->val;
		break;
	case V4L2_CID_MPEG_VIDEO_H264_I_FRAME_QP:
		ctx->idr_qp = ctrl->val;
		break;
	case V4L2_CID_MPEG_VIDEO_H264_PROFILE:
		ctx->profile = ctrl->val;
		break;
	case V4L2_CID_MPEG_VIDEO_H264_LEVEL:
		ctx->level = ctrl->val;
		break;
	}
	return 0;
}

static const struct v4l2_ctrl_ops vh_ctrl_ops = { .s_ctrl = vh_s_ctrl };

static void vh_add(struct vh_ctx *ctx, u32 id, s64 min, s64 max, s64 def)
{
	v4l2_ctrl_new_std(&ctx->controls, &vh_ctrl_ops, id, min, max, 1, def);
}

static void vh_add_menu(struct vh_ctx *ctx, u32 id, u8 max, u64 skip, u8 def)
{
	v4l2_ctrl_new_std_menu(&ctx->controls, &vh_ctrl_ops, id, max, skip, def);
}

static void vh_add_header_mode(struct vh_ctx *ctx)
{
	const u8 separate = V4L2_MPEG_VIDEO_HEADER_MODE_SEPARATE;
	const u8 joined = V4L2_MPEG_VIDEO_HEADER_MODE_JOINED_WITH_1ST_FRAME;

	switch (vh_quirks.separate_headers) {
	case 0:
		vh_add_menu(ctx, V4L2_CID_MPEG_VIDEO_HEADER_MODE, joined, BIT(separate), joined);
		break;
	case 1:
		vh_add_menu(ctx, V4L2_CID_MPEG_VIDEO_HEADER_MODE, joined, 0, separate);
		break;
	default:
		vh_add_menu(ctx, V4L2_CID_MPEG_VIDEO_HEADER_MODE, separate, 0, separate);
	}
}

int vh_controls_init(struct vh_ctx *ctx)
{
	struct v4l2_ctrl_handler *controls = &ctx->controls;
	int ret;

	ctx->fh.ctrl_handler = controls;
	v4l2_ctrl_handler_init(controls, 16);
	vh_add(ctx, V4L2_CID_MPEG_VIDEO_GOP_SIZE, 0, 65535, 30);
	vh_add(ctx, V4L2_CID_MPEG_VIDEO_BITRATE, 16000, 50000000, 1000000);
	vh_add_menu(ctx, V4L2_CID_MPEG_VIDEO_BITRATE_MODE, V4L2_MPEG_VIDEO_BITRATE_MODE_CBR, 0,
		    V4L2_MPEG_VIDEO_BITRATE_MODE_CBR);
	vh_add(ctx, V4L2_CID_MPEG_VIDEO_FRAME_RC_ENABLE, 0, 1, 1);
	if (!vh_quirks.no_force_key)
		v4l2_ctrl_new_std(controls, &vh_ctrl_ops, V4L2_CID_MPEG_VIDEO_FORCE_KEY_FRAME, 0, 0,
				  0, 0);
	vh_add(ctx, V4L2_CID_MPEG_VIDEO_REPEAT_SEQ_HEADER, 0, 1, 0);
	vh_add_header_mode(ctx);
	vh_add(ctx, V4L2_CID_MPEG_VIDEO_H264_MIN_QP, 0, 51, 10);
	vh_add(ctx, V4L2_CID_MPEG_VIDEO_H264_MAX_QP, 0, 51, 48);
	vh_add(ctx, V4L2_CID_MPEG_VIDEO_H264_I_FRAME_QP, 0, 51, 28);
	vh_add_menu(ctx, V4L2_CID_MPEG_VIDEO_H264_PROFILE,
		    V4L2_MPEG_VIDEO_H264_PROFILE_CONSTRAINED_BASELINE, 0,
		    V4L2_MPEG_VIDEO_H264_PROFILE_CONSTRAINED_BASELINE);
	vh_add_menu(ctx, V4L2_CID_MPEG_VIDEO_H264_LEVEL, V4L2_MPEG_VIDEO_H264_LEVEL_5_1, 0,
		    vh_quirks.strict_level ? V4L2_MPEG_VIDEO_H264_LEVEL_1_0 :
					     V4L2_MPEG_VIDEO_H264_LEVEL_3_1);
	v4l2_ctrl_new_std(controls, NULL, V4L2_CID_MIN_BUFFERS_FOR_OUTPUT, 1, 32, 1,
			  clamp(vh_quirks.min_output_buffers, 1u, 32u));
	ret = controls->error;
	if (!ret)
		ret = v4l2_ctrl_handler_setup(controls);
	if (ret)
		v4l2_ctrl_handler_free(controls);
	atomic_set(&ctx->force_key, 0);
	return ret;
}
