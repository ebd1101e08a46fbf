// SPDX-License-Identifier: GPL-2.0
/* Formats, selection, frame rate, buffers and encoder commands: the ioctls. */
#include <linux/minmax.h>

#include "vh264enc.h"

/* Bit n of the parameter "formats" offers entry n. */
static const u32 vh_raw_formats[] = {
	V4L2_PIX_FMT_NV12, V4L2_PIX_FMT_YUV420,	 V4L2_PIX_FMT_YUYV,
	V4L2_PIX_FMT_NV12M, V4L2_PIX_FMT_YUV420M,
};

#define VH_MAX_CODED_SIZE (8u << 20)

/* Memory planes: each has a buffer of its own. */
u32 vh_plane_count(const struct vh_format *format)
{
	switch (format->fourcc) {
	case V4L2_PIX_FMT_NV12M:
		return 2;
	case V4L2_PIX_FMT_YUV420M:
		return 3;
	default:
		return 1;
	}
}

u32 vh_plane_size(const struct vh_format *format, u32 plane)
{
	if (!plane)
		return format->size;
	return format->size / (format->fourcc == V4L2_PIX_FMT_NV12M ? 2 : 4);
}

/* Several memory planes are beyond the single-planar API. */
static bool vh_offers(u32 i)
{
	struct vh_format format = { .fourcc = vh_raw_formats[i] };

	return (vh_quirks.formats >> i & 1) &&
	       (vh_quirks.multiplanar || vh_plane_count(&format) == 1);
}

static bool vh_raw_offered(u32 fourcc)
{
	u32 i;

	for (i = 0; i < ARRAY_SIZE(vh_raw_formats); i++)
		if (vh_raw_formats[i] == fourcc)
			return vh_offers(i);
	return false;
}

/* The n-th format offered, or 0. */
static u32 vh_raw_format(u32 n)
{
	u32 i;

	for (i = 0; i < ARRAY_SIZE(vh_raw_formats); i++)
		if (vh_offers(i) && n-- == 0)
			return vh_raw_formats[i];
	return 0;
}

static u32 vh_raw_stride(u32 fourcc, u32 width, u32 wish)
{
	u32 least = fourcc == V4L2_PIX_FMT_YUYV ? width * 2 : width;
	u32 align = max(2u, vh_quirks.stride_align);

	/* Chroma rows are half as long and must be whole. */
	if (fourcc == V4L2_PIX_FMT_YUV420 || fourcc == V4L2_PIX_FMT_YUV420M)
		align = max(4u, align);
	return ALIGN(clamp(wish, least, 4 * VH_MAX_WIDTH), align);
}

/* Of the first memory plane. */
static u32 vh_raw_size(u32 fourcc, u32 stride, u32 height)
{
	bool whole = fourcc == V4L2_PIX_FMT_NV12 || fourcc == V4L2_PIX_FMT_YUV420;

	return whole ? stride * height * 3 / 2 : stride * height;
}

/* Room for a picture of I_PCM macroblocks, the largest that the coder can make. */
static u32 vh_coded_size(u32 width, u32 height, u32 wish)
{
	u32 least = DIV_ROUND_UP(width, 16) * DIV_ROUND_UP(height, 16) * 400 + 4096;

	return clamp(wish, least, VH_MAX_CODED_SIZE);
}

void vh_default_formats(struct vh_ctx *ctx)
{
	struct vh_format *raw = &ctx->raw;

	ctx->width = 640;
	ctx->height = 480;
	ctx->crop = (struct v4l2_rect){ 0, 0, ctx->width, ctx->height };
	ctx->frame_interval = (struct v4l2_fract){ 1, 30 };
	ctx->colorspace = V4L2_COLORSPACE_REC709;
	raw->fourcc = vh_raw_format(0) ?: V4L2_PIX_FMT_NV12;
	raw->stride = vh_raw_stride(raw->fourcc, ctx->width, 0);
	raw->size = vh_raw_size(raw->fourcc, raw->stride, ctx->height);
	ctx->coded.fourcc = V4L2_PIX_FMT_H264;
	ctx->coded.size = vh_coded_size(ctx->width, ctx->height, 0);
}

/* What single- and multi-planar formats have in common. */
struct vh_pix {
	u32 width, height;
	struct vh_format format;
};

static struct vh_pix vh_read_pix(const struct v4l2_format *f)
{
	const struct v4l2_pix_format_mplane *mp = &f->fmt.pix_mp;
	const struct v4l2_pix_format *sp = &f->fmt.pix;

	if (V4L2_TYPE_IS_MULTIPLANAR(f->type))
		return (struct vh_pix){ mp->width, mp->height,
					{ mp->pixelformat, mp->plane_fmt[0].bytesperline,
					  mp->plane_fmt[0].sizeimage } };
	return (struct vh_pix){ sp->width, sp->height,
				{ sp->pixelformat, sp->bytesperline, sp->sizeimage } };
}

static void vh_write_pix(struct v4l2_format *f, struct vh_pix pix)
{
	struct v4l2_pix_format_mplane *mp = &f->fmt.pix_mp;
	struct v4l2_pix_format *sp = &f->fmt.pix;
	u32 i;

	if (V4L2_TYPE_IS_MULTIPLANAR(f->type)) {
		mp->width = pix.width;
		mp->height = pix.height;
		mp->pixelformat = pix.format.fourcc;
		mp->field = V4L2_FIELD_NONE;
		mp->num_planes = vh_plane_count(&pix.format);
		mp->flags = 0;
		memset(mp->reserved, 0, sizeof(mp->reserved));
		memset(mp->plane_fmt, 0, sizeof(mp->plane_fmt));
		for (i = 0; i < mp->num_planes; i++) {
			mp->plane_fmt[i].bytesperline = pix.format.stride;
			if (i && pix.format.fourcc == V4L2_PIX_FMT_YUV420M)
				mp->plane_fmt[i].bytesperline /= 2;
			mp->plane_fmt[i].sizeimage = vh_plane_size(&pix.format, i);
		}
	} else {
		sp->width = pix.width;
		sp->height = pix.height;
		sp->pixelformat = pix.format.fourcc;
		sp->field = V4L2_FIELD_NONE;
		sp->bytesperline = pix.format.stride;
		sp->sizeimage = pix.format.size;
		sp->flags = 0;
	}
}

static void vh_read_color(struct vh_ctx *ctx, const struct v4l2_format *f)
{
	const struct v4l2_pix_format_mplane *mp = &f->fmt.pix_mp;
	const struct v4l2_pix_format *sp = &f->fmt.pix;
	bool multi = V4L2_TYPE_IS_MULTIPLANAR(f->type);

	ctx->colorspace = multi ? mp->colorspace : sp->colorspace;
	ctx->xfer_func = multi ? mp->xfer_func : sp->xfer_func;
	ctx->ycbcr_enc = multi ? mp->ycbcr_enc : sp->ycbcr_enc;
	ctx->quantization = multi ? mp->quantization : sp->quantization;
}

static void vh_write_color(const struct vh_ctx *ctx, struct v4l2_format *f)
{
	struct v4l2_pix_format_mplane *mp = &f->fmt.pix_mp;
	struct v4l2_pix_format *sp = &f->fmt.pix;

	if (V4L2_TYPE_IS_MULTIPLANAR(f->type)) {
		mp->colorspace = ctx->colorspace;
		mp->xfer_func = ctx->xfer_func;
		mp->ycbcr_enc = ctx->ycbcr_enc;
		mp->quantization = ctx->quantization;
	} else {
		sp->colorspace = ctx->colorspace;
		sp->xfer_func = ctx->xfer_func;
		sp->ycbcr_enc = ctx->ycbcr_enc;
		sp->quantization = ctx->quantization;
	}
}

static int vh_querycap(struct file *file, void *priv, struct v4l2_capability *cap)
{
	strscpy(cap->driver, VH_NAME, sizeof(cap->driver));
	strscpy(cap->card, "Virtual H.264 encoder", sizeof(cap->card));
	strscpy(cap->bus_info, "platform:" VH_NAME, sizeof(cap->bus_info));
	return 0;
}

static int vh_enum_fmt(struct file *file, void *priv, struct v4l2_fmtdesc *f)
{
	if (V4L2_TYPE_IS_MULTIPLANAR(f->type) != vh_quirks.multiplanar)
		return -EINVAL;
	if (V4L2_TYPE_IS_OUTPUT(f->type))
		f->pixelformat = vh_raw_format(f->index);
	else
		f->pixelformat = f->index ? 0 : V4L2_PIX_FMT_H264;
	return f->pixelformat ? 0 : -EINVAL;
}

static int vh_enum_framesizes(struct file *file, void *priv, struct v4l2_frmsizeenum *f)
{
	if (f->index || (f->pixel_format != V4L2_PIX_FMT_H264 && !vh_raw_offered(f->pixel_format)))
		return -EINVAL;
	f->type = V4L2_FRMSIZE_TYPE_STEPWISE;
	f->stepwise = (struct v4l2_frmsize_stepwise){ VH_MIN_SIDE, VH_MAX_WIDTH,  2,
						      VH_MIN_SIDE, VH_MAX_HEIGHT, 2 };
	return 0;
}

static int vh_g_fmt(struct file *file, void *priv, struct v4l2_format *f)
{
	struct vh_ctx *ctx = vh_file_ctx(file);
	bool raw = V4L2_TYPE_IS_OUTPUT(f->type);

	if (V4L2_TYPE_IS_MULTIPLANAR(f->type) != vh_quirks.multiplanar)
		return -EINVAL;
	guard(mutex)(&ctx->lock);
	vh_write_pix(f, (struct vh_pix){ ctx->width, ctx->height, raw ? ctx->raw : ctx->coded });
	vh_write_color(ctx, f);
	return 0;
}

/*
 * The coded size follows from the raw format and the crop; S_FMT CAPTURE chooses the buffers' size
 * only.
 */
static void vh_adjust(const struct vh_ctx *ctx, struct v4l2_format *f)
{
	struct vh_pix pix = vh_read_pix(f);
	struct vh_format *format = &pix.format;

	if (V4L2_TYPE_IS_CAPTURE(f->type)) {
		pix.width = ctx->width;
		pix.height = ctx->height;
		format->fourcc = V4L2_PIX_FMT_H264;
		format->stride = 0;
		format->size = vh_coded_size(pix.width, pix.height, format->size);
		vh_write_color(ctx, f);
	} else {
		u32 height_align = clamp(vh_quirks.height_align, 2u, 64u);

		if (!vh_raw_offered(format->fourcc))
			format->fourcc = vh_raw_format(0) ?: V4L2_PIX_FMT_NV12;
		pix.width = clamp(pix.width, VH_MIN_SIDE, VH_MAX_WIDTH) & ~1;
		pix.height =
			ALIGN(clamp(pix.height, VH_MIN_SIDE, VH_MAX_HEIGHT) & ~1, height_align);
		format->stride = vh_raw_stride(format->fourcc, pix.width, format->stride);
		format->size = vh_raw_size(format->fourcc, format->stride, pix.height);
	}
	vh_write_pix(f, pix);
}

static int vh_try_fmt(struct file *file, void *priv, struct v4l2_format *f)
{
	struct vh_ctx *ctx = vh_file_ctx(file);

	if (V4L2_TYPE_IS_MULTIPLANAR(f->type) != vh_quirks.multiplanar)
		return -EINVAL;
	guard(mutex)(&ctx->lock);
	vh_adjust(ctx, f);
	return 0;
}

static int vh_s_fmt(struct file *file, void *priv, struct v4l2_format *f)
{
	struct vh_ctx *ctx = vh_file_ctx(file);
	struct vh_pix pix;

	if (V4L2_TYPE_IS_MULTIPLANAR(f->type) != vh_quirks.multiplanar)
		return -EINVAL;
	guard(mutex)(&ctx->lock);
	if (vb2_is_busy(v4l2_m2m_get_vq(ctx->fh.m2m_ctx, f->type)))
		return -EBUSY;
	vh_adjust(ctx, f);
	pix = vh_read_pix(f);
	if (V4L2_TYPE_IS_CAPTURE(f->type)) {
		ctx->coded.size = pix.format.size;
		return 0;
	}
	ctx->width = pix.width;
	ctx->height = pix.height;
	ctx->raw = pix.format;
	ctx->crop = (struct v4l2_rect){ 0, 0, pix.width, pix.height };
	vh_read_color(ctx, f);
	if (!vb2_is_busy(v4l2_m2m_get_dst_vq(ctx->fh.m2m_ctx)))
		ctx->coded.size = vh_coded_size(pix.width, pix.height, 0);
	return 0;
}

static int vh_g_selection(struct file *file, void *priv, struct v4l2_selection *s)
{
	struct vh_ctx *ctx = vh_file_ctx(file);

	if (s->type != V4L2_BUF_TYPE_VIDEO_OUTPUT)
		return -EINVAL;
	guard(mutex)(&ctx->lock);
	switch (s->target) {
	case V4L2_SEL_TGT_CROP_DEFAULT:
	case V4L2_SEL_TGT_CROP_BOUNDS:
		s->r = (struct v4l2_rect){ 0, 0, ctx->width, ctx->height };
		return 0;
	case V4L2_SEL_TGT_CROP:
		s->r = ctx->crop;
		return 0;
	default:
		return -EINVAL;
	}
}

static int vh_s_selection(struct file *file, void *priv, struct v4l2_selection *s)
{
	struct vh_ctx *ctx = vh_file_ctx(file);
	struct v4l2_rect *r = &s->r;

	if (s->type != V4L2_BUF_TYPE_VIDEO_OUTPUT || s->target != V4L2_SEL_TGT_CROP)
		return -EINVAL;
	guard(mutex)(&ctx->lock);
	r->left = clamp_t(s32, r->left, 0, ctx->width - VH_MIN_SIDE) & ~1;
	r->top = clamp_t(s32, r->top, 0, ctx->height - VH_MIN_SIDE) & ~1;
	r->width = clamp_t(u32, r->width, VH_MIN_SIDE, ctx->width - r->left) & ~1;
	r->height = clamp_t(u32, r->height, VH_MIN_SIDE, ctx->height - r->top) & ~1;
	ctx->crop = *r;
	return 0;
}

static int vh_g_parm(struct file *file, void *priv, struct v4l2_streamparm *parm)
{
	struct vh_ctx *ctx = vh_file_ctx(file);

	if (V4L2_TYPE_IS_MULTIPLANAR(parm->type) != vh_quirks.multiplanar ||
	    !V4L2_TYPE_IS_OUTPUT(parm->type))
		return -EINVAL;
	memset(&parm->parm, 0, sizeof(parm->parm));
	parm->parm.output.capability = V4L2_CAP_TIMEPERFRAME;
	parm->parm.output.timeperframe = ctx->frame_interval;
	return 0;
}

static int vh_s_parm(struct file *file, void *priv, struct v4l2_streamparm *parm)
{
	struct vh_ctx *ctx = vh_file_ctx(file);
	struct v4l2_fract interval = parm->parm.output.timeperframe;

	if (V4L2_TYPE_IS_MULTIPLANAR(parm->type) != vh_quirks.multiplanar ||
	    !V4L2_TYPE_IS_OUTPUT(parm->type))
		return -EINVAL;
	if (!interval.numerator || !interval.denominator)
		interval = (struct v4l2_fract){ 1, 30 };
	scoped_guard(mutex, &ctx->lock)
		ctx->frame_interval = interval;
	return vh_g_parm(file, priv, parm);
}

static int vh_reqbufs(struct file *file, void *priv, struct v4l2_requestbuffers *req)
{
	struct vh_ctx *ctx = vh_file_ctx(file);
	struct v4l2_m2m_ctx *m2m = ctx->fh.m2m_ctx;
	int ret;

	if (req->count && vh_take_flag(&vh_quirks.fail_reqbufs))
		return -ENOMEM;
	ret = v4l2_m2m_ioctl_reqbufs(file, priv, req);
	if (!ret && !vb2_is_busy(v4l2_m2m_get_src_vq(m2m)) &&
	    !vb2_is_busy(v4l2_m2m_get_dst_vq(m2m)))
		vh_cure(ctx, VH_CURE_FREE_BUFFERS);
	return ret;
}

static int vh_expbuf(struct file *file, void *priv, struct v4l2_exportbuffer *export)
{
	if (vh_quirks.no_expbuf)
		return -ENOTTY;
	return v4l2_m2m_ioctl_expbuf(file, priv, export);
}

static int vh_dqbuf(struct file *file, void *priv, struct v4l2_buffer *buf)
{
	int ret = v4l2_m2m_ioctl_dqbuf(file, priv, buf);

	vh_raise_epipe(vh_file_ctx(file));
	return ret;
}

static int vh_encoder_cmd(struct file *file, void *priv, struct v4l2_encoder_cmd *cmd)
{
	struct vh_ctx *ctx = vh_file_ctx(file);
	struct v4l2_m2m_ctx *m2m = ctx->fh.m2m_ctx;
	int ret = v4l2_m2m_ioctl_try_encoder_cmd(file, priv, cmd);

	if (ret < 0)
		return ret;
	guard(mutex)(&ctx->lock);
	if (!vb2_is_streaming(v4l2_m2m_get_src_vq(m2m)) ||
	    !vb2_is_streaming(v4l2_m2m_get_dst_vq(m2m)))
		return 0;
	spin_lock(&ctx->drain_lock);
	if (cmd->cmd == V4L2_ENC_CMD_STOP && vh_quirks.drain_epipe && !v4l2_m2m_has_stopped(m2m) &&
	    !v4l2_m2m_num_src_bufs_ready(m2m))
		vh_end_drain_without_last(ctx);
	else
		ret = v4l2_m2m_ioctl_encoder_cmd(file, priv, cmd);
	spin_unlock(&ctx->drain_lock);
	if (ret < 0)
		return ret;
	if (cmd->cmd == V4L2_ENC_CMD_STOP && v4l2_m2m_has_stopped(m2m))
		vh_queue_eos(ctx);
	if (cmd->cmd == V4L2_ENC_CMD_START && !vh_quirks.drain_sticks) {
		ctx->drained = false;
		vb2_clear_last_buffer_dequeued(v4l2_m2m_get_dst_vq(m2m));
		v4l2_m2m_try_schedule(m2m);
	}
	return 0;
}

static int vh_subscribe_event(struct v4l2_fh *fh, const struct v4l2_event_subscription *sub)
{
	if (sub->type == V4L2_EVENT_EOS)
		return v4l2_event_subscribe(fh, sub, 0, NULL);
	return v4l2_ctrl_subscribe_event(fh, sub);
}

const struct v4l2_ioctl_ops vh_ioctl_ops = {
	.vidioc_querycap = vh_querycap,

	.vidioc_enum_fmt_vid_cap = vh_enum_fmt,
	.vidioc_g_fmt_vid_cap = vh_g_fmt,
	.vidioc_try_fmt_vid_cap = vh_try_fmt,
	.vidioc_s_fmt_vid_cap = vh_s_fmt,
	.vidioc_g_fmt_vid_cap_mplane = vh_g_fmt,
	.vidioc_try_fmt_vid_cap_mplane = vh_try_fmt,
	.vidioc_s_fmt_vid_cap_mplane = vh_s_fmt,

	.vidioc_enum_fmt_vid_out = vh_enum_fmt,
	.vidioc_g_fmt_vid_out = vh_g_fmt,
	.vidioc_try_fmt_vid_out = vh_try_fmt,
	.vidioc_s_fmt_vid_out = vh_s_fmt,
	.vidioc_g_fmt_vid_out_mplane = vh_g_fmt,
	.vidioc_try_fmt_vid_out_mplane = vh_try_fmt,
	.vidioc_s_fmt_vid_out_mplane = vh_s_fmt,

	.vidioc_enum_framesizes = vh_enum_framesizes,
	.vidioc_g_selection = vh_g_selection,
	.vidioc_s_selection = vh_s_selection,
	.vidioc_g_parm = vh_g_parm,
	.vidioc_s_parm = vh_s_parm,

	.vidioc_reqbufs = vh_reqbufs,
	.vidioc_create_bufs = v4l2_m2m_ioctl_create_bufs,
	.vidioc_querybuf = v4l2_m2m_ioctl_querybuf,
	.vidioc_prepare_buf = v4l2_m2m_ioctl_prepare_buf,
	.vidioc_expbuf = vh_expbuf,
	.vidioc_qbuf = v4l2_m2m_ioctl_qbuf,
	.vidioc_dqbuf = vh_dqbuf,
	.vidioc_streamon = v4l2_m2m_ioctl_streamon,
	.vidioc_streamoff = v4l2_m2m_ioctl_streamoff,

	.vidioc_try_encoder_cmd = v4l2_m2m_ioctl_try_encoder_cmd,
	.vidioc_encoder_cmd = vh_encoder_cmd,

	.vidioc_subscribe_event = vh_subscribe_event,
	.vidioc_unsubscribe_event = v4l2_event_unsubscribe,
};
