/*
 * One use of an encoder: frames of a camera (as DMA-BUFs) or of a pattern in, access units out,
 * everything counted.
 */
#ifndef RIG_SESSION_H
#define RIG_SESSION_H

#include "v4l2.h"

/* What to do when nothing has come out for the deadline: the rungs of a recovery ladder. */
enum cure { CURE_NONE, CURE_RESTART, CURE_FREE, CURE_REOPEN };

struct settings {
	const char *encoder, *camera, *output;
	uint32_t width, height, crop_width, crop_height, fourcc, stride, fps;
	uint32_t frames, output_buffers, capture_buffers;
	uint32_t in_flight;	/* camera frames in the encoder at most; 0: all */
	uint32_t bitrate, second_bitrate;	/* the second from half of the frames on */
	uint32_t key_at, restart_at, gop;	/* frame numbers; 0: never */
	uint32_t deadline_ms;
	int level, header_mode, bitrate_mode;	/* menu entries; -1: leave */
	bool create_buffers, start_empty, after_drain;
	enum cure cure;
};

/* Runs to the end and prints what was seen as KEY=VALUE lines. Returns the exit status. */
int session_run(const struct settings *settings);

#endif
