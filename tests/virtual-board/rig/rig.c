/* The rig's command line: finds devices, and drives an encoder by hand. See ../README.md. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "session.h"

static const char usage[] =
	"usage: rig find camera|encoder\n"
	"       rig encode ENCODER [OPTION]...\n"
	"  --camera NODE          its frames, as DMA-BUFs; without it, a pattern\n"
	"  --size WxH --format NV12|YU12|YUYV --stride BYTES --crop WxH --fps N --frames N\n"
	"  --bitrate BPS          --then-bitrate BPS      from half of the frames on\n"
	"  --gop N                --key-at FRAME          FORCE_KEY_FRAME\n"
	"  --level N --header-mode N --bitrate-mode N     menu entries\n"
	"  --in-flight N          of the camera's frames in the encoder at most; the newest wins\n"
	"  --buffers OUT,CAP      --create-buffers        CREATE_BUFS instead of REQBUFS\n"
	"  --start-empty          STREAMON before the first frame is queued\n"
	"  --restart-at UNIT      STREAMOFF and STREAMON of CAPTURE\n"
	"  --deadline MS          --on-silence restart|free|reopen\n"
	"  --after-drain          try ENC_CMD START, then a restart of CAPTURE\n"
	"  --output FILE\n";

static bool offers(int fd, uint32_t type, uint32_t fourcc)
{
	struct v4l2_fmtdesc format = { .type = type };

	for (; ioctl(fd, VIDIOC_ENUM_FMT, &format) == 0; format.index++)
		if (format.pixelformat == fourcc)
			return true;
	return false;
}

static bool is_encoder(int fd, uint32_t caps)
{
	if (caps & V4L2_CAP_VIDEO_M2M_MPLANE)
		return offers(fd, V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE, V4L2_PIX_FMT_H264);
	return caps & V4L2_CAP_VIDEO_M2M &&
	       offers(fd, V4L2_BUF_TYPE_VIDEO_CAPTURE, V4L2_PIX_FMT_H264);
}

static bool is_camera(int fd, uint32_t caps)
{
	uint32_t type = caps & V4L2_CAP_VIDEO_CAPTURE_MPLANE ? V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE :
							       V4L2_BUF_TYPE_VIDEO_CAPTURE;

	return caps & (V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_VIDEO_CAPTURE_MPLANE) &&
	       (offers(fd, type, V4L2_PIX_FMT_NV12) || offers(fd, type, V4L2_PIX_FMT_YUYV));
}

static int find(const char *what)
{
	for (int n = 0; n < 64; n++) {
		char path[32];
		uint32_t caps;
		bool found;
		int fd;

		snprintf(path, sizeof(path), "/dev/video%d", n);
		fd = device_open(path, &caps);
		if (fd < 0)
			continue;
		found = strcmp(what, "encoder") ? is_camera(fd, caps) : is_encoder(fd, caps);
		close(fd);
		if (found) {
			puts(path);
			return 0;
		}
	}
	fprintf(stderr, "rig: no %s found\n", what);
	return 1;
}

static uint32_t fourcc(const char *name)
{
	return strlen(name) == 4 ? v4l2_fourcc(name[0], name[1], name[2], name[3]) : 0;
}

static enum cure cure_of(const char *name)
{
	if (!strcmp(name, "restart"))
		return CURE_RESTART;
	return strcmp(name, "free") ? CURE_REOPEN : CURE_FREE;
}

enum {
	CAMERA = 1, SIZE, FORMAT, STRIDE, CROP, FPS, FRAMES, BITRATE, THEN_BITRATE, GOP, KEY_AT,
	LEVEL, HEADER_MODE, BITRATE_MODE, BUFFERS, CREATE, START_EMPTY, RESTART_AT, DEADLINE,
	ON_SILENCE, AFTER_DRAIN, OUTPUT, IN_FLIGHT,
};

static const struct option options[] = {
	{ "camera", 1, 0, CAMERA },
	{ "size", 1, 0, SIZE },
	{ "format", 1, 0, FORMAT },
	{ "stride", 1, 0, STRIDE },
	{ "crop", 1, 0, CROP },
	{ "fps", 1, 0, FPS },
	{ "frames", 1, 0, FRAMES },
	{ "bitrate", 1, 0, BITRATE },
	{ "then-bitrate", 1, 0, THEN_BITRATE },
	{ "gop", 1, 0, GOP },
	{ "key-at", 1, 0, KEY_AT },
	{ "level", 1, 0, LEVEL },
	{ "header-mode", 1, 0, HEADER_MODE },
	{ "bitrate-mode", 1, 0, BITRATE_MODE },
	{ "buffers", 1, 0, BUFFERS },
	{ "create-buffers", 0, 0, CREATE },
	{ "start-empty", 0, 0, START_EMPTY },
	{ "restart-at", 1, 0, RESTART_AT },
	{ "deadline", 1, 0, DEADLINE },
	{ "on-silence", 1, 0, ON_SILENCE },
	{ "after-drain", 0, 0, AFTER_DRAIN },
	{ "output", 1, 0, OUTPUT },
	{ "in-flight", 1, 0, IN_FLIGHT },
	{ 0 },
};

static bool take_option(struct settings *s, int option)
{
	switch (option) {
	case CAMERA: s->camera = optarg; return true;
	case SIZE: return sscanf(optarg, "%ux%u", &s->width, &s->height) == 2;
	case FORMAT: return (s->fourcc = fourcc(optarg));
	case STRIDE: s->stride = atoi(optarg); return true;
	case CROP: return sscanf(optarg, "%ux%u", &s->crop_width, &s->crop_height) == 2;
	case FPS: return (s->fps = atoi(optarg));
	case FRAMES: return (s->frames = atoi(optarg)) >= 2;
	case BITRATE: s->bitrate = atoi(optarg); return true;
	case THEN_BITRATE: s->second_bitrate = atoi(optarg); return true;
	case GOP: s->gop = atoi(optarg); return true;
	case KEY_AT: s->key_at = atoi(optarg); return true;
	case LEVEL: s->level = atoi(optarg); return true;
	case HEADER_MODE: s->header_mode = atoi(optarg); return true;
	case BITRATE_MODE: s->bitrate_mode = atoi(optarg); return true;
	case BUFFERS: return sscanf(optarg, "%u,%u", &s->output_buffers, &s->capture_buffers) == 2;
	case CREATE: s->create_buffers = true; return true;
	case START_EMPTY: s->start_empty = true; return true;
	case RESTART_AT: s->restart_at = atoi(optarg); return true;
	case DEADLINE: s->deadline_ms = atoi(optarg); return true;
	case ON_SILENCE: s->cure = cure_of(optarg); return true;
	case AFTER_DRAIN: s->after_drain = true; return true;
	case OUTPUT: s->output = optarg; return true;
	case IN_FLIGHT: s->in_flight = atoi(optarg); return true;
	default: return false;
	}
}

static int encode(int argc, char **argv)
{
	struct settings settings = {
		.encoder = argv[1],
		.width = 320,
		.height = 240,
		.fourcc = V4L2_PIX_FMT_NV12,
		.fps = 30,
		.frames = 30,
		.output_buffers = 4,
		.capture_buffers = 4,
		.bitrate = 1000000,
		.gop = 60,
		.deadline_ms = 5000,
		.level = -1,
		.header_mode = -1,
		.bitrate_mode = -1,
	};
	int option;

	optind = 2;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		if (!take_option(&settings, option)) {
			fputs(usage, stderr);
			return 2;
		}
	return session_run(&settings);
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "find"))
		return find(argv[2]);
	if (argc >= 3 && !strcmp(argv[1], "encode"))
		return encode(argc - 1, argv + 1);
	fputs(usage, stderr);
	return 2;
}
