/*
 * The ioctls that the rig needs, alike for single- and multi-planar devices. Functions return 0 or
 * -errno.
 */
#ifndef RIG_V4L2_H
#define RIG_V4L2_H

#include <linux/videodev2.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MAX_BUFFERS = 16 };

struct queue {
	int fd;
	uint32_t type;
	uint32_t memory;
	uint32_t count;
	struct {
		void *data;
		uint32_t length;
		int dmabuf;
	} buffers[MAX_BUFFERS];
};

struct picture_format {
	uint32_t width, height, fourcc, stride, size;
};

struct taken {
	uint32_t index, begin, used, flags, sequence;	/* bytes from @begin to @used are data */
	int64_t timestamp_us;
};

bool is_multiplanar(uint32_t type);
bool is_output(uint32_t type);

/*
 * Opens @path without blocking; @caps are those of the node. Returns the file descriptor or -errno.
 */
int device_open(const char *path, uint32_t *caps);
int control_set(int fd, uint32_t id, int32_t value);

int queue_format(struct queue *q, struct picture_format *format);
int queue_rate(struct queue *q, uint32_t fps);
int queue_crop(struct queue *q, uint32_t width, uint32_t height);
int queue_request(struct queue *q, uint32_t count, uint32_t memory);
int queue_create(struct queue *q, uint32_t count, uint32_t memory);
int queue_map(struct queue *q);
int queue_export(struct queue *q);
void queue_free(struct queue *q);
int queue_on(struct queue *q);
int queue_off(struct queue *q);
/* @dmabuf: for V4L2_MEMORY_DMABUF; @length: of the whole buffer. */
int queue_put(struct queue *q, uint32_t index, uint32_t used, uint32_t length, int dmabuf,
	      int64_t timestamp_us);
int queue_take(struct queue *q, struct taken *taken);

#endif
