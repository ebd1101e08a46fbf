// SPDX-License-Identifier: GPL-2.0
/*
 * The module's parameters: what the encoder looks like, and how it misbehaves.
 * The table in ../README.md says which driver each of them imitates.
 *
 * Those with mode 0644 may be written in /sys/module/vh264enc/parameters; the text says when they
 * act.
 */
#include <linux/module.h>
#include <linux/moduleparam.h>

#include "vh264enc.h"

struct vh_quirks vh_quirks = {
	.multiplanar = true,
	.formats = 7,
	.stride_align = 2,
	.height_align = 2,
	.min_output_buffers = 1,
	.min_capture_buffers = 1,
	.timestamp_step_us = 1,
	.skip_threshold = 128,
	.stall_cure = VH_CURE_RESTART_CAPTURE,
};

#define VH_PARAM(name, type, mode, text)                                       \
	module_param_named(name, vh_quirks.name, type, mode);                  \
	MODULE_PARM_DESC(name, text)

VH_PARAM(multiplanar, bool, 0444, "multi-planar API (one memory plane)");
VH_PARAM(allocators, uint, 0444, "0: vmalloc, 1: dma-contig, imports contiguous buffers only");
VH_PARAM(formats, uint, 0644,
	 "raw formats offered: 1 NV12, 2 YU12, 4 YUYV, 8 NM12, 16 YM12 (at S_FMT)");
VH_PARAM(stride_align, uint, 0644, "bytesperline is a multiple of this power of two (at S_FMT)");
VH_PARAM(height_align, uint, 0644, "raw height is a multiple of this power of two (at S_FMT)");
VH_PARAM(max_instances, uint, 0644, "further opens fail with EBUSY; 0: no limit (at open)");
VH_PARAM(min_output_buffers, uint, 0644,
	 "REQBUFS is raised to it, STREAMON below it fails with EINVAL");
VH_PARAM(min_capture_buffers, uint, 0644,
	 "REQBUFS is raised to it, STREAMON below it fails with EINVAL");
VH_PARAM(need_queued_output, bool, 0644, "STREAMON of an empty OUTPUT queue fails with EINVAL");
VH_PARAM(no_expbuf, bool, 0644, "EXPBUF fails with ENOTTY");

VH_PARAM(no_force_key, bool, 0644, "no FORCE_KEY_FRAME control (at open)");
VH_PARAM(fixed_bitrate, bool, 0644, "BITRATE is taken and ignored while streaming");
VH_PARAM(strict_level, bool, 0644, "LEVEL is 1.0 at open; one too low fails STREAMON with ESRCH");
VH_PARAM(separate_headers, uint, 0644,
	 "SPS and PPS in a CAPTURE buffer of their own: 1 by default, 2 always (at open)");

VH_PARAM(no_keyframe_flag, bool, 0644, "IDR pictures are not marked KEYFRAME");
VH_PARAM(drain_epipe, bool, 0644, "a drain ends with EOS and EPIPE, no buffer is marked LAST");
VH_PARAM(drain_sticks, bool, 0644, "ENC_CMD_START does not end a drain, a restart of CAPTURE does");
VH_PARAM(restart_stalls, bool, 0644,
	 "after a STREAMOFF nothing comes out until the file is reopened");
VH_PARAM(skip_every, uint, 0644, "every N-th frame comes back without an access unit");
VH_PARAM(timestamp_step_us, uint, 0644, "CAPTURE timestamps are cut to multiples of it");
VH_PARAM(data_offset, uint, 0644,
	 "coded bytes begin so far into their CAPTURE buffer (multi-planar)");
VH_PARAM(pcm, bool, 0644, "I_PCM macroblocks");
VH_PARAM(skip_threshold, uint, 0644, "macroblocks that differ less are not coded again");

VH_PARAM(latency_us, uint, 0644, "added to every frame");
VH_PARAM(stall_ms, uint, 0644, "the next frame takes so long (once)");
VH_PARAM(stall_after, uint, 0644, "the N-th next frame is never finished (once)");
VH_PARAM(stall_cure, uint, 0644,
	 "ends stall_after's stall: 1 restart of CAPTURE, 2 REQBUFS(0) of both, 3 reopen, 4 "
	 "nothing");
VH_PARAM(streamoff_ms, uint, 0644,
	 "STREAMOFF, REQBUFS(0) and close of a streaming CAPTURE queue block so long");
VH_PARAM(error_buffers, uint, 0644, "the next N CAPTURE buffers are marked ERROR");
VH_PARAM(fail_streamon, bool, 0644, "the next STREAMON fails with EIO (once)");
VH_PARAM(fail_reqbufs, bool, 0644, "the next REQBUFS fails with ENOMEM (once)");

static DEFINE_SPINLOCK(vh_once_lock);

/* Counts down; true for each of the N that were asked for. */
bool vh_take_one(uint *count)
{
	bool taken = false;

	spin_lock(&vh_once_lock);
	if (*count) {
		(*count)--;
		taken = true;
	}
	spin_unlock(&vh_once_lock);
	return taken;
}

/* Counts down; true for the last of the N alone. */
bool vh_take_last(uint *count)
{
	bool last;

	spin_lock(&vh_once_lock);
	last = *count == 1;
	if (*count)
		(*count)--;
	spin_unlock(&vh_once_lock);
	return last;
}

bool vh_take_flag(bool *flag)
{
	bool taken;

	spin_lock(&vh_once_lock);
	taken = *flag;
	*flag = false;
	spin_unlock(&vh_once_lock);
	return taken;
}

uint vh_take_value(uint *value)
{
	uint taken;

	spin_lock(&vh_once_lock);
	taken = *value;
	*value = 0;
	spin_unlock(&vh_once_lock);
	return taken;
}
