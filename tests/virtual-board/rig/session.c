#define _GNU_SOURCE
#include "session.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "h264.h"

enum { REMEMBERED = 64 };

/* What was seen. */
struct facts {
	uint32_t submitted, returned, units, idr, flagged_key, wrong_flag, header_only, errors;
	uint32_t unmatched, camera_gaps, camera_errors, cures, data_offset;
	uint64_t bytes, half_bytes[2];
	int64_t max_gap_ms, streamoff_ms, forced_key_at;
	bool eos, last, epipe, headers_share_timestamp, idr_after_restart;
	const char *end;
};

struct session {
	const struct settings *settings;
	struct queue raw, coded, camera;
	struct picture_format raw_format, camera_format;
	bool free_slots[MAX_BUFFERS];	/* OUTPUT buffers without a frame (pattern only) */
	int64_t sent[REMEMBERED];
	uint32_t force_asked_at;
	uint32_t limit;			/* frames to submit */
	uint32_t last_index;		/* the buffer that ended a drain */
	int64_t header_timestamp, last_progress, last_unit, last_camera_sequence;
	bool stopping, restarted;
	struct taken held;		/* the newest of the camera's frames, not in the encoder yet */
	bool holds;
	FILE *file;
	struct facts facts;
};

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000ll + t.tv_nsec / 1000000;
}

static int64_t cpu_us(void)
{
	struct rusage used;

	getrusage(RUSAGE_SELF, &used);
	return (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000000ll + used.ru_utime.tv_usec +
	       used.ru_stime.tv_usec;
}

/* A step that must succeed: prints which did not and how, and ends the program with status 3. */
static void must(int ret, const char *step)
{
	if (ret >= 0)
		return;
	printf("failed=%s\nerrno=%s\n", step, strerrorname_np(-ret));
	exit(3);
}

/* ---- opening ---- */

static void open_encoder(struct session *s)
{
	struct v4l2_event_subscription eos = { .type = V4L2_EVENT_EOS };
	uint32_t caps;
	int fd = device_open(s->settings->encoder, &caps);
	bool multi;

	must(fd, "open");
	multi = caps & V4L2_CAP_VIDEO_M2M_MPLANE;
	s->raw.fd = s->coded.fd = fd;
	s->raw.type = multi ? V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE : V4L2_BUF_TYPE_VIDEO_OUTPUT;
	s->coded.type = multi ? V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE : V4L2_BUF_TYPE_VIDEO_CAPTURE;
	ioctl(fd, VIDIOC_SUBSCRIBE_EVENT, &eos);
}

static void open_camera(struct session *s)
{
	const struct settings *set = s->settings;
	uint32_t caps;
	int fd = device_open(set->camera, &caps);

	must(fd, "open-camera");
	s->camera.fd = fd;
	s->camera.type = caps & V4L2_CAP_VIDEO_CAPTURE_MPLANE ? V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE :
								V4L2_BUF_TYPE_VIDEO_CAPTURE;
	s->camera_format = (struct picture_format){ set->width, set->height, set->fourcc, 0, 0 };
	must(queue_format(&s->camera, &s->camera_format), "S_FMT-camera");
	if (s->camera_format.fourcc != set->fourcc)
		must(-EINVAL, "S_FMT-camera");
	queue_rate(&s->camera, set->fps);
	must(queue_request(&s->camera, set->output_buffers, V4L2_MEMORY_MMAP), "REQBUFS-camera");
	must(queue_export(&s->camera), "EXPBUF-camera");
	for (uint32_t i = 0; i < s->camera.count; i++)
		must(queue_put(&s->camera, i, 0, 0, 0, 0), "QBUF-camera");
}

static void set_if(int fd, uint32_t id, int value)
{
	if (value >= 0)
		control_set(fd, id, value);
}

static void request(struct session *s, struct queue *q, uint32_t count, uint32_t memory,
		    const char *step)
{
	must(s->settings->create_buffers ? queue_create(q, count, memory) :
					   queue_request(q, count, memory),
	     step);
}

/* hardware.md 3.1, in its order. */
static void configure_encoder(struct session *s)
{
	const struct settings *set = s->settings;
	const struct picture_format *camera = &s->camera_format;
	struct picture_format coded = { .fourcc = V4L2_PIX_FMT_H264 };
	int fd = s->raw.fd;

	coded.width = set->camera ? camera->width : set->width;
	coded.height = set->camera ? camera->height : set->height;
	s->raw_format = coded;
	s->raw_format.fourcc = set->fourcc;
	s->raw_format.stride = set->camera ? camera->stride : set->stride;
	must(queue_format(&s->coded, &coded), "S_FMT-CAPTURE");
	must(queue_format(&s->raw, &s->raw_format), "S_FMT-OUTPUT");
	if (s->raw_format.fourcc != set->fourcc)
		must(-EINVAL, "S_FMT-OUTPUT");
	queue_rate(&s->raw, set->fps);
	if (set->crop_width)
		must(queue_crop(&s->raw, set->crop_width, set->crop_height), "S_SELECTION");
	set_if(fd, V4L2_CID_MPEG_VIDEO_H264_LEVEL, set->level);
	set_if(fd, V4L2_CID_MPEG_VIDEO_HEADER_MODE, set->header_mode);
	set_if(fd, V4L2_CID_MPEG_VIDEO_BITRATE_MODE, set->bitrate_mode);
	control_set(fd, V4L2_CID_MPEG_VIDEO_BITRATE, set->bitrate);
	control_set(fd, V4L2_CID_MPEG_VIDEO_GOP_SIZE, set->gop);
	control_set(fd, V4L2_CID_MPEG_VIDEO_REPEAT_SEQ_HEADER, 1);
	request(s, &s->raw, set->output_buffers,
		set->camera ? V4L2_MEMORY_DMABUF : V4L2_MEMORY_MMAP, "REQBUFS-OUTPUT");
	request(s, &s->coded, set->capture_buffers, V4L2_MEMORY_MMAP, "REQBUFS-CAPTURE");
	must(queue_map(&s->coded), "mmap-CAPTURE");
	if (!set->camera)
		must(queue_map(&s->raw), "mmap-OUTPUT");
	memset(s->free_slots, 0, sizeof(s->free_slots));
	for (uint32_t i = 0; i < s->raw.count; i++)
		s->free_slots[i] = true;
}

static void offer_coded_buffers(struct session *s)
{
	for (uint32_t i = 0; i < s->coded.count; i++)
		must(queue_put(&s->coded, i, 0, 0, 0, 0), "QBUF-CAPTURE");
}

/* ---- frames in ---- */

static void remember(struct session *s, int64_t timestamp_us)
{
	s->sent[s->facts.submitted % REMEMBERED] = timestamp_us;
}

static void before_frame(struct session *s)
{
	const struct settings *set = s->settings;
	uint32_t n = s->facts.submitted;

	if (n && n == set->key_at) {
		if (control_set(s->raw.fd, V4L2_CID_MPEG_VIDEO_FORCE_KEY_FRAME, 1) < 0)
			printf("force_key=refused\n");
		s->force_asked_at = n;
	}
	if (n && n == set->frames / 2 && set->second_bitrate)
		printf("set_bitrate=%d\n",
		       control_set(s->raw.fd, V4L2_CID_MPEG_VIDEO_BITRATE, set->second_bitrate));
}

/*
 * A slope that moves, under noise that only fine quantizers keep: there is something to code at
 * every bitrate.
 */
static void draw(uint8_t *data, uint32_t size, uint32_t stride, uint32_t n)
{
	uint32_t random = n * 2654435761u + 1;

	for (uint32_t i = 0; i < size; i++) {
		random = random * 1664525u + 1013904223u;
		data[i] = 64 + ((i % stride + n * 8) & 127) / 2 + (random >> 27);
	}
}

/* A frame every 1/fps by its timestamp, as fast as the encoder takes them by the clock. */
static void submit_pattern(struct session *s)
{
	const struct settings *set = s->settings;

	for (uint32_t i = 0; i < s->raw.count && s->facts.submitted < s->limit; i++) {
		int64_t timestamp = 1000007 + s->facts.submitted * 1000000ll / set->fps;

		if (!s->free_slots[i])
			continue;
		before_frame(s);
		draw(s->raw.buffers[i].data, s->raw_format.size, s->raw_format.stride,
		     s->facts.submitted);
		must(queue_put(&s->raw, i, s->raw_format.size, s->raw.buffers[i].length, 0,
			       timestamp),
		     "QBUF-OUTPUT");
		s->free_slots[i] = false;
		remember(s, timestamp);
		s->facts.submitted++;
	}
}

static bool has_room(const struct session *s)
{
	uint32_t most = s->settings->in_flight;

	return s->facts.submitted < s->settings->frames &&
	       (!most || s->facts.submitted - s->facts.returned < most);
}

/* A slot's number is the same on both sides. */
static void submit_held(struct session *s)
{
	uint32_t size = s->camera_format.size > s->raw_format.size ? s->camera_format.size :
								     s->raw_format.size;
	const struct taken *t = &s->held;

	if (!s->holds || !has_room(s))
		return;
	before_frame(s);
	must(queue_put(&s->raw, t->index, t->used, size, s->camera.buffers[t->index].dmabuf,
		       t->timestamp_us),
	     "QBUF-OUTPUT");
	remember(s, t->timestamp_us);
	s->facts.submitted++;
	s->holds = false;
}

/* An older frame that the encoder had no room for goes back for a newer one. */
static void submit_camera(struct session *s)
{
	struct taken t;
	int ret;

	submit_held(s);
	while (s->facts.submitted < s->settings->frames) {
		ret = queue_take(&s->camera, &t);
		if (ret == -EAGAIN)
			return;
		if (ret < 0) {
			s->facts.end = ret == -ENODEV ? "unplugged" : "camera-error";
			printf("camera_errno=%s\n", strerrorname_np(-ret));
			return;
		}
		if (s->last_camera_sequence >= 0 && t.sequence > s->last_camera_sequence + 1)
			s->facts.camera_gaps += t.sequence - s->last_camera_sequence - 1;
		s->last_camera_sequence = t.sequence;
		if (t.flags & V4L2_BUF_FLAG_ERROR) {
			s->facts.camera_errors++;
			must(queue_put(&s->camera, t.index, 0, 0, 0, 0), "QBUF-camera");
			continue;
		}
		if (s->holds)
			must(queue_put(&s->camera, s->held.index, 0, 0, 0, 0), "QBUF-camera");
		s->held = t;
		s->holds = true;
		submit_held(s);
	}
}

/* ---- access units out ---- */

static void take_frames_back(struct session *s)
{
	struct taken t;

	while (queue_take(&s->raw, &t) == 0) {
		s->facts.returned++;
		s->last_progress = now_ms();
		if (!s->settings->camera)
			s->free_slots[t.index] = true;
		else if (!s->stopping && !s->facts.end)
			queue_put(&s->camera, t.index, 0, 0, 0, 0);
	}
}

static bool was_sent(const struct session *s, int64_t timestamp_us)
{
	for (int i = 0; i < REMEMBERED; i++)
		if (s->sent[i] == timestamp_us)
			return true;
	return false;
}

static void count_unit(struct session *s, const struct taken *t)
{
	struct facts *f = &s->facts;
	uint8_t *data = (uint8_t *)s->coded.buffers[t->index].data + t->begin;
	uint32_t size = t->used - t->begin;
	struct unit unit = unit_of(data, size);
	uint32_t half = s->settings->frames / 2, in_half = f->units % half;

	if (s->file)
		fwrite(data, 1, size, s->file);
	f->bytes += size;
	f->data_offset = t->begin;
	if (!was_sent(s, t->timestamp_us))
		f->unmatched++;
	if (!unit.picture) {
		f->header_only++;
		s->header_timestamp = t->timestamp_us;
		return;
	}
	if (s->header_timestamp == t->timestamp_us)
		f->headers_share_timestamp = true;
	if (s->restarted && unit.idr && (unit.parameters || f->header_only))
		f->idr_after_restart = true;
	s->restarted = false;
	if (f->units < 2 * half && in_half >= half / 2)
		f->half_bytes[f->units / half] += size;
	if (!f->units++) {	/* for scripts that wait for it */
		printf("streaming=1\n");
		fflush(stdout);
	}
	f->idr += unit.idr;
	f->flagged_key += !!(t->flags & V4L2_BUF_FLAG_KEYFRAME);
	f->wrong_flag += unit.idr != !!(t->flags & V4L2_BUF_FLAG_KEYFRAME);
	/* The control acts on the next frame to be taken up: one that was queued earlier, maybe. */
	if (unit.idr && s->force_asked_at && f->forced_key_at < 0 &&
	    f->units + s->raw.count > s->force_asked_at)
		f->forced_key_at = f->units - 1;
}

static void take_units(struct session *s)
{
	struct facts *f = &s->facts;
	struct taken t;
	int ret;

	while ((ret = queue_take(&s->coded, &t)) == 0) {
		int64_t now = now_ms();

		if (s->last_unit && now - s->last_unit > f->max_gap_ms)
			f->max_gap_ms = now - s->last_unit;
		s->last_unit = s->last_progress = now;
		if (t.flags & V4L2_BUF_FLAG_ERROR)
			f->errors++;
		else if (t.used)
			count_unit(s, &t);
		if (t.flags & V4L2_BUF_FLAG_LAST) {
			f->last = true;
			f->end = "last";
			s->last_index = t.index;
			return;
		}
		must(queue_put(&s->coded, t.index, 0, 0, 0, 0), "QBUF-CAPTURE");
	}
	if (ret == -EPIPE) {
		f->epipe = true;
		f->end = "epipe";
	} else if (ret != -EAGAIN) {
		must(ret, "DQBUF-CAPTURE");
	}
}

static void take_events(struct session *s)
{
	struct v4l2_event event;

	while (ioctl(s->raw.fd, VIDIOC_DQEVENT, &event) == 0)
		if (event.type == V4L2_EVENT_EOS)
			s->facts.eos = true;
}

/* ---- start, stop, cure ---- */

static void start(struct session *s)
{
	offer_coded_buffers(s);
	if (!s->settings->start_empty && !s->settings->camera)
		submit_pattern(s);
	must(queue_on(&s->raw), "STREAMON-OUTPUT");
	must(queue_on(&s->coded), "STREAMON-CAPTURE");
}

static void stop_coded(struct session *s)
{
	int64_t begun = now_ms();

	must(queue_off(&s->coded), "STREAMOFF-CAPTURE");
	if (now_ms() - begun > s->facts.streamoff_ms)
		s->facts.streamoff_ms = now_ms() - begun;
}

static void restart_coded(struct session *s)
{
	stop_coded(s);
	offer_coded_buffers(s);
	must(queue_on(&s->coded), "STREAMON-CAPTURE");
	s->restarted = true;
}

static void stop(struct session *s)
{
	queue_off(&s->raw);
	stop_coded(s);
	queue_free(&s->raw);
	queue_free(&s->coded);
}

static void cure(struct session *s)
{
	s->facts.cures++;
	if (s->settings->cure == CURE_RESTART) {
		restart_coded(s);
	} else {
		stop(s);
		if (s->settings->cure == CURE_REOPEN) {
			close(s->raw.fd);
			open_encoder(s);
		}
		configure_encoder(s);
		start(s);
		s->restarted = true;
	}
	s->last_progress = now_ms();
}

static void on_silence(struct session *s)
{
	if (s->settings->cure != CURE_NONE && !s->facts.cures)
		cure(s);
	else
		s->facts.end = "silence";
}

static void drain(struct session *s)
{
	struct v4l2_encoder_cmd command = { .cmd = V4L2_ENC_CMD_STOP };

	s->stopping = true;
	must(ioctl(s->raw.fd, VIDIOC_ENCODER_CMD, &command) < 0 ? -errno : 0, "ENCODER_CMD");
}

/* Whether one more frame comes out. */
static bool resumes(struct session *s)
{
	uint32_t before = s->facts.units;
	int64_t begun = now_ms();

	s->limit++;
	take_frames_back(s);
	submit_pattern(s);
	while (s->facts.units == before && now_ms() - begun < 700) {
		usleep(10000);
		take_units(s);
	}
	return s->facts.units > before;
}

/* hardware.md 3.3: how the encoder is taken up again after a drain. */
static void try_after_drain(struct session *s)
{
	struct v4l2_encoder_cmd command = { .cmd = V4L2_ENC_CMD_START };
	const char *end = s->facts.end;

	must(ioctl(s->raw.fd, VIDIOC_ENCODER_CMD, &command) < 0 ? -errno : 0, "ENCODER_CMD-START");
	must(queue_put(&s->coded, s->last_index, 0, 0, 0, 0), "QBUF-CAPTURE");
	printf("resumed_by_start=%d\n", resumes(s));
	restart_coded(s);
	printf("resumed_by_restart=%d\n", resumes(s));
	s->facts.end = end;
}

/* ---- the loop ---- */

static void turn(struct session *s)
{
	struct pollfd fds[2] = { { .fd = s->raw.fd, .events = POLLIN | POLLOUT | POLLPRI },
				 { .fd = s->settings->camera && !s->stopping ? s->camera.fd : -1,
				   .events = POLLIN } };
	const struct settings *set = s->settings;
	uint32_t before = s->facts.units;

	poll(fds, 2, 100);
	if (fds[0].revents & POLLERR)
		usleep(1000); /* no buffers on either side: no fault, and no reason to spin */
	if (fds[1].revents & POLLERR)
		printf("camera_poll=%#x\n", fds[1].revents);
	take_events(s);
	take_frames_back(s);
	take_units(s);
	if (s->facts.end)
		return;
	if (set->restart_at && before < set->restart_at && s->facts.units >= set->restart_at)
		restart_coded(s);
	if (!s->stopping) {
		if (set->camera)
			submit_camera(s);
		else
			submit_pattern(s);
		if (!s->facts.end && s->facts.submitted >= set->frames)
			drain(s);
	}
	if (!s->facts.end && now_ms() - s->last_progress > set->deadline_ms)
		on_silence(s);
}

static uint64_t kbps(const struct session *s, uint64_t bytes)
{
	uint32_t quarter = s->settings->frames / 2 - s->settings->frames / 4;

	return quarter ? bytes * 8 * s->settings->fps / quarter / 1000 : 0;
}

static void print_facts(const struct session *s, int64_t took_ms)
{
	const struct facts *f = &s->facts;

	printf("submitted=%u\nreturned=%u\nunits=%u\nheader_only=%u\nerrors=%u\n", f->submitted,
	       f->returned, f->units, f->header_only, f->errors);
	printf("idr=%u\nflagged_key=%u\nwrong_flag=%u\nforced_key_at=%lld\n", f->idr,
	       f->flagged_key, f->wrong_flag, (long long)f->forced_key_at);
	printf("unmatched=%u\nheaders_share_timestamp=%d\nidr_after_restart=%d\n", f->unmatched,
	       f->headers_share_timestamp, f->idr_after_restart);
	printf("width=%u\nheight=%u\nstride=%u\noutput_buffers=%u\ncapture_buffers=%u\n",
	       s->raw_format.width, s->raw_format.height, s->raw_format.stride, s->raw.count,
	       s->coded.count);
	printf("camera_gaps=%u\ncamera_errors=%u\ndata_offset=%u\n", f->camera_gaps,
	       f->camera_errors, f->data_offset);
	printf("bytes=%llu\nfirst_kbps=%llu\nsecond_kbps=%llu\n", (unsigned long long)f->bytes,
	       (unsigned long long)kbps(s, f->half_bytes[0]),
	       (unsigned long long)kbps(s, f->half_bytes[1]));
	printf("took_ms=%lld\nfps=%lld\nmax_gap_ms=%lld\ncures=%u\n", (long long)took_ms,
	       took_ms ? f->units * 1000ll / took_ms : 0, (long long)f->max_gap_ms, f->cures);
	printf("cpu_us_per_unit=%lld\n", (long long)(f->units ? cpu_us() / f->units : 0));
	printf("end=%s\nlast=%d\nepipe=%d\neos=%d\n", f->end, f->last, f->epipe, f->eos);
	fflush(stdout);
}

int session_run(const struct settings *settings)
{
	struct session s = { .settings = settings,
			     .limit = settings->frames,
			     .header_timestamp = -1,
			     .last_camera_sequence = -1 };
	int64_t begun;

	s.facts.forced_key_at = -1;
	if (settings->output && !(s.file = fopen(settings->output, "wb")))
		must(-errno, "open-output");
	open_encoder(&s);
	if (settings->camera)
		open_camera(&s);
	configure_encoder(&s);
	start(&s);
	if (settings->camera)
		must(queue_on(&s.camera), "STREAMON-camera");
	begun = s.last_progress = now_ms();
	while (!s.facts.end)
		turn(&s);
	take_events(&s);
	if (settings->after_drain)
		try_after_drain(&s);
	print_facts(&s, now_ms() - begun);
	if (settings->camera) {
		queue_off(&s.camera);
		close(s.camera.fd);
	}
	stop(&s);
	close(s.raw.fd);
	printf("streamoff_ms=%lld\n", (long long)s.facts.streamoff_ms);
	if (s.file)
		fclose(s.file);
	return 0;
}
