// SPDX-License-Identifier: GPL-2.0
/* One job: a frame in, an access unit out. Rate control, drain, stall. */
#include <linux/delay.h>
#include <linux/dma-direct.h>
#include <media/videobuf2-dma-contig.h>

#include "vh264enc.h"

/* ---- end of stream ---- */

void vh_queue_eos(struct vh_ctx *ctx)
{
	static const struct v4l2_event eos = { .type = V4L2_EVENT_EOS };

	v4l2_event_queue_fh(&ctx->fh, &eos);
}

/*
 * drain_epipe: once the finished buffers are taken, DQBUF says EPIPE, as amphion's driver has it.
 */
void vh_raise_epipe(struct vh_ctx *ctx)
{
	struct vb2_queue *q = v4l2_m2m_get_dst_vq(ctx->fh.m2m_ctx);
	bool empty;

	if (!ctx->drained)
		return;
	spin_lock_irq(&q->done_lock);
	empty = list_empty(&q->done_list);
	spin_unlock_irq(&q->done_lock);
	if (empty) {
		q->last_buffer_dequeued = true;
		wake_up(&q->done_wq);
	}
}

/* Called with drain_lock held. */
void vh_end_drain_without_last(struct vh_ctx *ctx)
{
	v4l2_m2m_mark_stopped(ctx->fh.m2m_ctx);
	ctx->drained = true;
	vh_raise_epipe(ctx);
}

/* ---- stall ---- */

void vh_cure(struct vh_ctx *ctx, enum vh_stall_cure cure)
{
	if (ctx->stalled <= cure)
		ctx->stalled = VH_NOT_STALLED;
}

static bool vh_is_wedged(const struct vh_dev *dev)
{
	return dev->wedged && vh_quirks.stall_cure == VH_CURE_NONE;
}

static int vh_job_ready(void *priv)
{
	const struct vh_ctx *ctx = priv;

	return !ctx->stalled && !vh_is_wedged(ctx->dev);
}

/* True when the frame at hand is the one that is never finished. */
static bool vh_stalls_now(struct vh_ctx *ctx)
{
	if (!vh_take_last(&vh_quirks.stall_after))
		return false;
	if (vh_quirks.stall_cure >= VH_CURE_NONE)
		ctx->dev->wedged = true;
	else
		ctx->stalled = max_t(uint, vh_quirks.stall_cure, VH_CURE_RESTART_CAPTURE);
	return true;
}

/* ---- rate control ---- */

/*
 * A leaky bucket moves the quantizer. CBR spends what it is given: it looks at one second and lets
 * quality rise to MIN_QP. VBR looks at four, and saves on easy pictures: it never codes finer than
 * I_FRAME_QP.
 */
static void vh_control_rate(struct vh_ctx *ctx, u32 size, bool idr)
{
	bool vbr = ctx->bitrate_mode == V4L2_MPEG_VIDEO_BITRATE_MODE_VBR;
	u32 floor = vbr ? max(ctx->min_qp, ctx->idr_qp) : ctx->min_qp;
	u32 window = vbr ? 4 : 1;
	u32 bitrate = vh_quirks.fixed_bitrate ? ctx->start_bitrate : ctx->bitrate;
	u64 per_frame = div_u64((u64)bitrate * ctx->frame_interval.numerator,
				8 * ctx->frame_interval.denominator);
	s64 target = max_t(s64, per_frame, 1);

	ctx->bucket = max_t(s64, ctx->bucket + size - target, -8 * target * window);
	if (ctx->bucket > 4 * target * window)
		ctx->qp += 2;
	else if (ctx->bucket > 0 && size > target && !idr)
		ctx->qp++;
	else if (ctx->bucket < 0 && ctx->qp > floor)
		ctx->qp--;
	ctx->qp = clamp(ctx->qp, floor, max(ctx->max_qp, floor));
}

/* ---- coding ---- */

/*
 * Where a memory plane is. A contiguous one is read by the address that its device would use, as
 * hardware does it: what a processor's caches hold and the memory does not is not seen.
 */
static const u8 *vh_pixels(const struct vh_ctx *ctx, struct vb2_buffer *vb, u32 plane)
{
	const u8 *begin;

	if (vb2_get_plane_payload(vb, plane) < vh_plane_size(&ctx->raw, plane))
		return NULL;
	if (vh_quirks.allocators == 1)
		begin = phys_to_virt(dma_to_phys(ctx->dev->dev,
						 vb2_dma_contig_plane_dma_addr(vb, plane)));
	else
		begin = vb2_plane_vaddr(vb, plane);
	return begin ? begin + vb->planes[plane].data_offset : NULL;
}

/* False when a plane is missing, or too short. */
static bool vh_describe_source(const struct vh_ctx *ctx, struct vb2_buffer *vb,
			       struct h264_picture *pic)
{
	u32 stride = ctx->raw.stride, left = ctx->crop.left, top = ctx->crop.top, i;
	const u8 *planes[3], *pixels, *chroma;

	for (i = 0; i < vh_plane_count(&ctx->raw); i++) {
		planes[i] = vh_pixels(ctx, vb, i);
		if (!planes[i])
			return false;
	}
	pixels = planes[0];
	chroma = vh_plane_count(&ctx->raw) > 1 ? planes[1] : pixels + stride * ctx->height;

	switch (ctx->raw.fourcc) {
	case V4L2_PIX_FMT_NV12:
	case V4L2_PIX_FMT_NV12M:
		*pic = (struct h264_picture){
			.y = pixels,
			.u = chroma,
			.v = chroma + 1,
			.y_stride = stride,
			.c_stride = stride,
			.y_step = 1,
			.c_step = 2,
			.c_vdiv = 2,
		};
		break;
	case V4L2_PIX_FMT_YUV420:
	case V4L2_PIX_FMT_YUV420M:
		*pic = (struct h264_picture){
			.y = pixels,
			.u = chroma,
			.v = ctx->raw.fourcc == V4L2_PIX_FMT_YUV420M ?
				     planes[2] :
				     chroma + stride / 2 * (ctx->height / 2),
			.y_stride = stride,
			.c_stride = stride / 2,
			.y_step = 1,
			.c_step = 1,
			.c_vdiv = 2,
		};
		break;
	default:
		*pic = (struct h264_picture){
			.y = pixels,
			.u = pixels + 1,
			.v = pixels + 3,
			.y_stride = stride,
			.c_stride = stride,
			.y_step = 2,
			.c_step = 4,
			.c_vdiv = 1,
		};
	}
	pic->y += top * pic->y_stride + left * pic->y_step;
	pic->u += top / pic->c_vdiv * pic->c_stride + left / 2 * pic->c_step;
	pic->v += top / pic->c_vdiv * pic->c_stride + left / 2 * pic->c_step;
	return true;
}

/* How far into its buffer an access unit begins. */
static u32 vh_data_offset(void)
{
	return vh_quirks.multiplanar ? min(vh_quirks.data_offset, 2048u) : 0;
}

static u8 *vh_coded_room(struct vb2_v4l2_buffer *dst, u32 *room)
{
	u8 *begin = vb2_plane_vaddr(&dst->vb2_buf, 0);

	*room = vb2_plane_size(&dst->vb2_buf, 0) - vh_data_offset();
	return begin ? begin + vh_data_offset() : NULL;
}

/* Writes headers (if wanted) and one picture. Returns the bytes written, or 0. */
static u32 vh_encode(struct vh_ctx *ctx, struct vb2_v4l2_buffer *src, struct vb2_v4l2_buffer *dst,
		     bool idr, bool headers)
{
	u32 qp = idr && !ctx->rate_control ? ctx->idr_qp : ctx->qp;
	u32 header_size = 0, room, size;
	u8 *out = vh_coded_room(dst, &room);
	struct h264_picture pic;

	if (!out || !vh_describe_source(ctx, &src->vb2_buf, &pic))
		return 0;
	ctx->coder.pcm = vh_quirks.pcm;
	ctx->coder.skip_threshold = vh_quirks.skip_threshold;
	if (headers)
		header_size = h264_write_headers(&ctx->coder, out, room);
	size = h264_write_picture(&ctx->coder, &pic, out + header_size, room - header_size, idr,
				  qp);
	if (!size) {	/* did not fit: coarser, and from a fresh start */
		ctx->qp = min(ctx->qp + 6, ctx->max_qp);
		ctx->gop_position = 0;
		return 0;
	}
	ctx->headers_sent |= headers;
	ctx->gop_position = idr ? 1 : ctx->gop_position + 1;
	if (ctx->rate_control)
		vh_control_rate(ctx, header_size + size, idr);
	return header_size + size;
}

static u32 vh_encode_headers(struct vh_ctx *ctx, struct vb2_v4l2_buffer *dst)
{
	u32 room;
	u8 *out = vh_coded_room(dst, &room);

	ctx->headers_sent = true;
	return out ? h264_write_headers(&ctx->coder, out, room) : 0;
}

/* ---- buffers ---- */

static void vh_describe_coded(struct vh_ctx *ctx, struct vb2_v4l2_buffer *src,
			      struct vb2_v4l2_buffer *dst, u32 size, u32 kind)
{
	u64 step = (u64)max(vh_quirks.timestamp_step_us, 1u) * NSEC_PER_USEC, excess;

	v4l2_m2m_buf_copy_metadata(src, dst, true);
	div64_u64_rem(dst->vb2_buf.timestamp, step, &excess);
	dst->vb2_buf.timestamp -= excess;
	dst->flags &= ~(V4L2_BUF_FLAG_KEYFRAME | V4L2_BUF_FLAG_PFRAME | V4L2_BUF_FLAG_LAST);
	dst->flags |= kind;
	dst->field = V4L2_FIELD_NONE;
	dst->sequence = ctx->coded.sequence++;
	/* bytesused counts from the start of the buffer. An empty one has no data to begin anywhere. */
	dst->vb2_buf.planes[0].data_offset = size ? vh_data_offset() : 0;
	vb2_set_plane_payload(&dst->vb2_buf, 0, dst->vb2_buf.planes[0].data_offset + size);
}

/*
 * Gives the frame back, with its coded buffer or (skipped) without. Until here the frame stays
 * queued, so that an ENC_CMD_STOP during the job sees that there is one to wait for.
 */
static void vh_finish_frame(struct vh_ctx *ctx, struct vb2_v4l2_buffer *src,
			    struct vb2_v4l2_buffer *dst, enum vb2_buffer_state state)
{
	struct v4l2_m2m_ctx *m2m = ctx->fh.m2m_ctx;
	bool last;

	spin_lock(&ctx->drain_lock);
	last = v4l2_m2m_is_last_draining_src_buf(m2m, src);
	if (last && !dst && !vh_quirks.drain_epipe) {
		dst = v4l2_m2m_next_dst_buf(m2m);
		vh_describe_coded(ctx, src, dst, 0, 0);
	}
	v4l2_m2m_src_buf_remove(m2m);
	v4l2_m2m_buf_done(src, VB2_BUF_STATE_DONE);
	if (last) {
		vh_queue_eos(ctx);
		if (!vh_quirks.drain_epipe) {
			dst->flags |= V4L2_BUF_FLAG_LAST;
			v4l2_m2m_mark_stopped(m2m);
		}
	}
	if (dst) {
		v4l2_m2m_dst_buf_remove(m2m);
		v4l2_m2m_buf_done(dst, state);
	}
	if (last && vh_quirks.drain_epipe)
		vh_end_drain_without_last(ctx);
	spin_unlock(&ctx->drain_lock);
}

static bool vh_skips(const struct vh_ctx *ctx, u32 sequence)
{
	uint every = vh_quirks.skip_every;

	/* Never the first: there would be nothing to decode. */
	return every && ctx->headers_sent && sequence % every == every - 1;
}

static void vh_one_frame(struct vh_ctx *ctx)
{
	struct v4l2_m2m_ctx *m2m = ctx->fh.m2m_ctx;
	struct vb2_v4l2_buffer *src = v4l2_m2m_next_src_buf(m2m), *dst = v4l2_m2m_next_dst_buf(m2m);
	enum vb2_buffer_state state = VB2_BUF_STATE_DONE;
	bool idr, headers;
	u32 size;

	idr = ctx->headers_out || atomic_xchg(&ctx->force_key, 0) || !ctx->gop_position ||
	      (ctx->gop && ctx->gop_position >= ctx->gop);
	headers = idr && !ctx->headers_out && (!ctx->headers_sent || ctx->repeat_headers);

	/* The frame stays where it is: it follows in the next job, into the next CAPTURE buffer. */
	if (headers && ctx->separate_headers) {
		vh_describe_coded(ctx, src, dst, vh_encode_headers(ctx, dst), 0);
		ctx->headers_out = true;
		v4l2_m2m_dst_buf_remove(m2m);
		v4l2_m2m_buf_done(dst, VB2_BUF_STATE_DONE);
		return;
	}
	ctx->headers_out = false;
	src->sequence = ctx->raw.sequence++;

	if (vh_skips(ctx, src->sequence)) {
		ctx->gop_position = idr ? 1 : ctx->gop_position + 1;
		if (idr)	/* the headers come all the same, the key frame is lost */
			vh_describe_coded(ctx, src, dst, vh_encode_headers(ctx, dst), 0);
		vh_finish_frame(ctx, src, idr ? dst : NULL, state);
		return;
	}

	size = vh_encode(ctx, src, dst, idr, headers);
	if (!size || vh_take_one(&vh_quirks.error_buffers)) {
		state = VB2_BUF_STATE_ERROR;
		size = 0;
	}
	vh_describe_coded(ctx, src, dst, size,
			  idr && !vh_quirks.no_keyframe_flag ? V4L2_BUF_FLAG_KEYFRAME :
							       V4L2_BUF_FLAG_PFRAME);
	vh_finish_frame(ctx, src, dst, state);
}

void vh_work(struct work_struct *work)
{
	struct vh_ctx *ctx = container_of(work, struct vh_ctx, work);
	uint pause = vh_take_value(&vh_quirks.stall_ms);

	if (pause)
		msleep(pause);
	if (vh_quirks.latency_us)
		fsleep(vh_quirks.latency_us);
	if (!vh_stalls_now(ctx))
		vh_one_frame(ctx);
	v4l2_m2m_job_finish(ctx->dev->m2m, ctx->fh.m2m_ctx);
}

static void vh_device_run(void *priv)
{
	struct vh_ctx *ctx = priv;

	queue_work(ctx->dev->workqueue, &ctx->work);
}

const struct v4l2_m2m_ops vh_m2m_ops = {
	.device_run = vh_device_run,
	.job_ready = vh_job_ready,
};
