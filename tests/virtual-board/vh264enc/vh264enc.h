/* SPDX-License-Identifier: GPL-2.0 */
/*
 * vh264enc: a virtual V4L2 stateful H.264 encoder.
 *
 * drv.c       platform device, probe and remove, open and close
 * formats.c   format, selection, frame rate and encoder command ioctls
 * queue.c     videobuf2 operations: buffer counts, start and stop of streaming
 * controls.c  encoder controls
 * job.c       one frame in, one access unit out; rate control; drain; stall
 * quirks.c    the parameters that make it behave like real hardware
 * coder.c     the H.264 coder itself
 */
#ifndef VH264ENC_H
#define VH264ENC_H

#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>
#include <media/media-device.h>
#include <media/v4l2-ctrls.h>
#include <media/v4l2-device.h>
#include <media/v4l2-event.h>
#include <media/v4l2-ioctl.h>
#include <media/v4l2-mem2mem.h>
#include <media/videobuf2-v4l2.h>

#include "coder.h"

#define VH_NAME "vh264enc"
#define VH_MIN_SIDE 32u
#define VH_MAX_WIDTH 1920u
#define VH_MAX_HEIGHT 1088u

/* What a stalled encoder needs to work again, in the order of a recovery ladder. */
enum vh_stall_cure {
	VH_NOT_STALLED = 0,
	VH_CURE_RESTART_CAPTURE = 1,	/* STREAMOFF and STREAMON of CAPTURE */
	VH_CURE_FREE_BUFFERS = 2,	/* both queues off, then REQBUFS(0) */
	VH_CURE_REOPEN = 3,		/* close and open */
	VH_CURE_NONE = 4,		/* nothing, while the parameter has this value */
};

/* The parameters of the module, see quirks.c and the README. */
struct vh_quirks {
	/* looks */
	bool multiplanar;
	uint allocators;
	uint formats;
	uint stride_align;
	uint height_align;
	uint max_instances;
	uint min_output_buffers;
	uint min_capture_buffers;
	bool need_queued_output;
	bool no_expbuf;
	/* controls */
	bool no_force_key;
	bool fixed_bitrate;
	bool strict_level;
	uint separate_headers;
	/* stream */
	bool no_keyframe_flag;
	bool drain_epipe;
	bool drain_sticks;
	bool restart_stalls;
	uint skip_every;
	uint timestamp_step_us;
	uint data_offset;
	bool pcm;
	uint skip_threshold;
	/* faults */
	uint latency_us;
	uint stall_ms;
	uint stall_after;
	uint stall_cure;
	uint streamoff_ms;
	uint error_buffers;
	bool fail_streamon;
	bool fail_reqbufs;
};

extern struct vh_quirks vh_quirks;

struct vh_dev {
	struct v4l2_device v4l2_dev;
	struct video_device vfd;
	struct media_device mdev;
	struct v4l2_m2m_dev *m2m;
	struct workqueue_struct *workqueue;
	struct device *dev;
	atomic_t instances;
	bool wedged;			/* stalled with VH_CURE_NONE */
};

struct vh_format {
	u32 fourcc;
	u32 stride;
	u32 size;			/* of the first memory plane */
	u32 sequence;
};

struct vh_ctx {
	struct v4l2_fh fh;
	struct vh_dev *dev;
	struct v4l2_ctrl_handler controls;
	struct mutex lock;		/* of one file: a slow STREAMOFF blocks no other */
	spinlock_t drain_lock;		/* end of a job against ENC_CMD_STOP */

	struct vh_format raw, coded;
	u32 width, height;		/* of the raw buffers, padding included */
	struct v4l2_rect crop;
	struct v4l2_fract frame_interval;
	u32 colorspace, xfer_func, ycbcr_enc, quantization;

	/* controls */
	u32 gop, bitrate, bitrate_mode;
	u32 min_qp, max_qp, idr_qp;
	u32 profile, level;
	bool rate_control, repeat_headers, separate_headers;
	atomic_t force_key;

	/* one stream */
	struct work_struct work;
	struct h264_coder coder;
	void *coder_memory;
	u32 start_bitrate;		/* BITRATE at STREAMON, for fixed_bitrate */
	u32 qp;
	s64 bucket;			/* bytes above (or below) the target */
	u32 gop_position;
	bool headers_sent;
	bool headers_out;		/* in a buffer of their own, for the frame that follows */
	bool drained;			/* drain_epipe: EPIPE when all buffers are taken */

	enum vh_stall_cure stalled;	/* VH_NOT_STALLED: works */
};

static inline struct vh_ctx *vh_file_ctx(struct file *file)
{
	return container_of(file->private_data, struct vh_ctx, fh);
}

/* formats.c */
extern const struct v4l2_ioctl_ops vh_ioctl_ops;
void vh_default_formats(struct vh_ctx *ctx);
u32 vh_plane_count(const struct vh_format *format);
u32 vh_plane_size(const struct vh_format *format, u32 plane);

/* queue.c */
int vh_queue_init(void *priv, struct vb2_queue *src, struct vb2_queue *dst);

/* controls.c */
int vh_controls_init(struct vh_ctx *ctx);
bool vh_level_suffices(const struct vh_ctx *ctx);
u8 vh_level_idc(const struct vh_ctx *ctx);

/* job.c */
extern const struct v4l2_m2m_ops vh_m2m_ops;
void vh_work(struct work_struct *work);
void vh_queue_eos(struct vh_ctx *ctx);
void vh_end_drain_without_last(struct vh_ctx *ctx);
void vh_raise_epipe(struct vh_ctx *ctx);
void vh_cure(struct vh_ctx *ctx, enum vh_stall_cure cure);

/* quirks.c */
bool vh_take_one(uint *count);
bool vh_take_last(uint *count);
bool vh_take_flag(bool *flag);
uint vh_take_value(uint *value);

#endif
