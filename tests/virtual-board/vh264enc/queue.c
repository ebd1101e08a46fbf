// SPDX-License-Identifier: GPL-2.0
/* The two buffer queues: how many buffers, of what size, and what starts and stops with them. */
#include <linux/delay.h>
#include <linux/vmalloc.h>
#include <media/videobuf2-dma-contig.h>
#include <media/videobuf2-vmalloc.h>

#include "vh264enc.h"

static const struct vh_format *vh_queue_format(const struct vb2_queue *q)
{
	const struct vh_ctx *ctx = vb2_get_drv_priv((struct vb2_queue *)q);

	return V4L2_TYPE_IS_OUTPUT(q->type) ? &ctx->raw : &ctx->coded;
}

static u32 vh_min_buffers(const struct vb2_queue *q)
{
	return V4L2_TYPE_IS_OUTPUT(q->type) ? vh_quirks.min_output_buffers :
					      vh_quirks.min_capture_buffers;
}

static int vh_queue_setup(struct vb2_queue *q, unsigned int *num_buffers, unsigned int *num_planes,
			  unsigned int sizes[], struct device *alloc_devs[])
{
	const struct vh_format *format = vh_queue_format(q);
	u32 i, count = vh_plane_count(format);

	if (*num_planes) {	/* CREATE_BUFS */
		if (*num_planes != count)
			return -EINVAL;
		for (i = 0; i < count; i++)
			if (sizes[i] < vh_plane_size(format, i))
				return -EINVAL;
		return 0;
	}
	*num_buffers = max(*num_buffers, vh_min_buffers(q));
	*num_planes = count;
	for (i = 0; i < count; i++)
		sizes[i] = vh_plane_size(format, i);
	return 0;
}

static int vh_buf_out_validate(struct vb2_buffer *vb)
{
	to_vb2_v4l2_buffer(vb)->field = V4L2_FIELD_NONE;
	return 0;
}

static int vh_buf_prepare(struct vb2_buffer *vb)
{
	const struct vh_format *format = vh_queue_format(vb->vb2_queue);
	u32 i;

	for (i = 0; i < vh_plane_count(format); i++) {
		u32 size = vh_plane_size(format, i);

		if (vb2_plane_size(vb, i) < size)
			return -EINVAL;
		if (V4L2_TYPE_IS_CAPTURE(vb->type))
			vb2_set_plane_payload(vb, i, 0);
		else if (!vb2_get_plane_payload(vb, i))
			vb2_set_plane_payload(vb, i, size);
	}
	return 0;
}

static void vh_buf_queue(struct vb2_buffer *vb)
{
	struct vh_ctx *ctx = vb2_get_drv_priv(vb->vb2_queue);
	struct v4l2_m2m_ctx *m2m = ctx->fh.m2m_ctx;
	struct vb2_v4l2_buffer *buf = to_vb2_v4l2_buffer(vb);

	/* A drain found no CAPTURE buffer to end with: this one is it. */
	if (V4L2_TYPE_IS_CAPTURE(vb->type) && vb2_is_streaming(vb->vb2_queue) &&
	    v4l2_m2m_dst_buf_is_last(m2m)) {
		vb2_set_plane_payload(vb, 0, 0);
		vb->planes[0].data_offset = 0;
		buf->field = V4L2_FIELD_NONE;
		buf->sequence = ctx->coded.sequence++;
		vh_queue_eos(ctx);
		v4l2_m2m_last_buffer_done(m2m, buf);
		return;
	}
	v4l2_m2m_buf_queue(m2m, buf);
}

static void vh_return_buffers(struct vb2_queue *q, enum vb2_buffer_state state)
{
	struct vh_ctx *ctx = vb2_get_drv_priv(q);
	struct v4l2_m2m_ctx *m2m = ctx->fh.m2m_ctx;
	struct vb2_v4l2_buffer *buf;

	for (;;) {
		if (V4L2_TYPE_IS_OUTPUT(q->type))
			buf = v4l2_m2m_src_buf_remove(m2m);
		else
			buf = v4l2_m2m_dst_buf_remove(m2m);
		if (!buf)
			return;
		v4l2_m2m_buf_done(buf, state);
	}
}

/* What the coded stream says of itself is settled here, from crop, rate and controls. */
static int vh_start_coder(struct vh_ctx *ctx)
{
	struct h264_coder *coder = &ctx->coder;
	void *memory;

	if (vh_quirks.strict_level && !vh_level_suffices(ctx))
		return -ESRCH;
	memory = vzalloc(h264_memory_size(ctx->crop.width, ctx->crop.height));
	if (!memory)
		return -ENOMEM;
	vfree(ctx->coder_memory);
	ctx->coder_memory = memory;
	h264_init(coder, memory, ctx->crop.width, ctx->crop.height);
	coder->profile_idc = 66;
	coder->constraint_flags =
		ctx->profile == V4L2_MPEG_VIDEO_H264_PROFILE_CONSTRAINED_BASELINE ? 0xe0 : 0x80;
	if (ctx->level == V4L2_MPEG_VIDEO_H264_LEVEL_1B)
		coder->constraint_flags |= 0x10;
	coder->level_idc = vh_level_idc(ctx);
	coder->rate_num = ctx->frame_interval.denominator;
	coder->rate_den = ctx->frame_interval.numerator;
	ctx->start_bitrate = ctx->bitrate;
	ctx->bucket = 0;
	ctx->qp = clamp(ctx->idr_qp, ctx->min_qp, ctx->max_qp);
	return 0;
}

static int vh_start_streaming(struct vb2_queue *q, unsigned int queued)
{
	struct vh_ctx *ctx = vb2_get_drv_priv(q);
	int ret = 0;

	if (vh_take_flag(&vh_quirks.fail_streamon))
		ret = -EIO;
	else if (vb2_get_num_buffers(q) < vh_min_buffers(q))
		ret = -EINVAL;
	else if (V4L2_TYPE_IS_OUTPUT(q->type) && vh_quirks.need_queued_output && !queued)
		ret = -EINVAL;
	else if (V4L2_TYPE_IS_OUTPUT(q->type))
		ret = vh_start_coder(ctx);
	if (ret) {
		vh_return_buffers(q, VB2_BUF_STATE_QUEUED);
		return ret;
	}

	v4l2_m2m_update_start_streaming_state(ctx->fh.m2m_ctx, q);
	/* A start of either queue is a reset: the next picture is an IDR with headers. */
	ctx->gop_position = 0;
	ctx->headers_sent = false;
	ctx->headers_out = false;
	if (V4L2_TYPE_IS_OUTPUT(q->type)) {
		ctx->raw.sequence = 0;
	} else {
		ctx->coded.sequence = 0;
		ctx->drained = false;
		vh_cure(ctx, VH_CURE_RESTART_CAPTURE);
	}
	return 0;
}

static void vh_stop_streaming(struct vb2_queue *q)
{
	struct vh_ctx *ctx = vb2_get_drv_priv(q);
	struct v4l2_m2m_ctx *m2m = ctx->fh.m2m_ctx;

	if (V4L2_TYPE_IS_CAPTURE(q->type) && vh_quirks.streamoff_ms)
		msleep(vh_quirks.streamoff_ms);
	v4l2_m2m_update_stop_streaming_state(m2m, q);
	vh_return_buffers(q, VB2_BUF_STATE_ERROR);
	if (V4L2_TYPE_IS_OUTPUT(q->type) && v4l2_m2m_has_stopped(m2m))
		vh_queue_eos(ctx);
	if (vh_quirks.restart_stalls)
		ctx->stalled = VH_CURE_REOPEN;
}

static const struct vb2_ops vh_vb2_ops = {
	.queue_setup = vh_queue_setup,
	.buf_out_validate = vh_buf_out_validate,
	.buf_prepare = vh_buf_prepare,
	.buf_queue = vh_buf_queue,
	.start_streaming = vh_start_streaming,
	.stop_streaming = vh_stop_streaming,
	.wait_prepare = vb2_ops_wait_prepare,
	.wait_finish = vb2_ops_wait_finish,
};

static int vh_init_one_queue(struct vh_ctx *ctx, struct vb2_queue *q)
{
	bool contiguous = vh_quirks.allocators == 1;

	q->io_modes = VB2_MMAP | VB2_DMABUF | (contiguous ? 0 : VB2_USERPTR);
	q->mem_ops = contiguous ? &vb2_dma_contig_memops : &vb2_vmalloc_memops;
	q->drv_priv = ctx;
	q->ops = &vh_vb2_ops;
	q->buf_struct_size = sizeof(struct v4l2_m2m_buffer);
	q->timestamp_flags = V4L2_BUF_FLAG_TIMESTAMP_COPY;
	q->lock = &ctx->lock;
	q->dev = ctx->dev->dev;
	return vb2_queue_init(q);
}

int vh_queue_init(void *priv, struct vb2_queue *src, struct vb2_queue *dst)
{
	bool multi = vh_quirks.multiplanar;
	int ret;

	src->type = multi ? V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE : V4L2_BUF_TYPE_VIDEO_OUTPUT;
	dst->type = multi ? V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE : V4L2_BUF_TYPE_VIDEO_CAPTURE;
	ret = vh_init_one_queue(priv, src);
	return ret ?: vh_init_one_queue(priv, dst);
}
