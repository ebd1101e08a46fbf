#include "v4l2.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

static int xioctl(int fd, unsigned long request, void *arg)
{
	int ret;

	do
		ret = ioctl(fd, request, arg);
	while (ret < 0 && errno == EINTR);
	return ret < 0 ? -errno : 0;
}

bool is_multiplanar(uint32_t type)
{
	return V4L2_TYPE_IS_MULTIPLANAR(type);
}

bool is_output(uint32_t type)
{
	return V4L2_TYPE_IS_OUTPUT(type);
}

int device_open(const char *path, uint32_t *caps)
{
	struct v4l2_capability capability;
	int fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC), ret;

	if (fd < 0)
		return -errno;
	ret = xioctl(fd, VIDIOC_QUERYCAP, &capability);
	if (ret < 0) {
		close(fd);
		return ret;
	}
	*caps = capability.device_caps;
	return fd;
}

int control_set(int fd, uint32_t id, int32_t value)
{
	struct v4l2_control control = { .id = id, .value = value };

	return xioctl(fd, VIDIOC_S_CTRL, &control);
}

int queue_format(struct queue *q, struct picture_format *format)
{
	struct v4l2_format f = { .type = q->type };
	struct v4l2_pix_format_mplane *mp = &f.fmt.pix_mp;
	struct v4l2_pix_format *sp = &f.fmt.pix;
	int ret;

	if (is_multiplanar(q->type)) {
		mp->width = format->width;
		mp->height = format->height;
		mp->pixelformat = format->fourcc;
		mp->num_planes = 1;
		mp->plane_fmt[0].bytesperline = format->stride;
		mp->plane_fmt[0].sizeimage = format->size;
	} else {
		sp->width = format->width;
		sp->height = format->height;
		sp->pixelformat = format->fourcc;
		sp->bytesperline = format->stride;
		sp->sizeimage = format->size;
	}
	ret = xioctl(q->fd, VIDIOC_S_FMT, &f);
	if (ret < 0)
		return ret;
	if (is_multiplanar(q->type))
		*format = (struct picture_format){ mp->width, mp->height, mp->pixelformat,
						   mp->plane_fmt[0].bytesperline,
						   mp->plane_fmt[0].sizeimage };
	else
		*format = (struct picture_format){ sp->width, sp->height, sp->pixelformat,
						   sp->bytesperline, sp->sizeimage };
	return 0;
}

int queue_rate(struct queue *q, uint32_t fps)
{
	struct v4l2_streamparm parm = { .type = q->type };

	/* The capture and output parts begin alike. */
	parm.parm.capture.timeperframe = (struct v4l2_fract){ 1, fps };
	return xioctl(q->fd, VIDIOC_S_PARM, &parm);
}

int queue_crop(struct queue *q, uint32_t width, uint32_t height)
{
	struct v4l2_selection selection = {
		.type = V4L2_BUF_TYPE_VIDEO_OUTPUT,
		.target = V4L2_SEL_TGT_CROP,
		.r = { 0, 0, width, height },
	};

	return xioctl(q->fd, VIDIOC_S_SELECTION, &selection);
}

int queue_request(struct queue *q, uint32_t count, uint32_t memory)
{
	struct v4l2_requestbuffers request = { .count = count, .type = q->type, .memory = memory };
	int ret = xioctl(q->fd, VIDIOC_REQBUFS, &request);

	if (ret < 0)
		return ret;
	if (request.count > MAX_BUFFERS)
		return -E2BIG;
	q->memory = memory;
	q->count = request.count;
	return 0;
}

int queue_create(struct queue *q, uint32_t count, uint32_t memory)
{
	struct v4l2_create_buffers create = {
		.count = count, .memory = memory, .format.type = q->type,
	};
	int ret = xioctl(q->fd, VIDIOC_G_FMT, &create.format);

	if (ret == 0)
		ret = xioctl(q->fd, VIDIOC_CREATE_BUFS, &create);
	if (ret < 0)
		return ret;
	q->memory = memory;
	q->count = create.count;
	return 0;
}

int queue_map(struct queue *q)
{
	for (uint32_t i = 0; i < q->count; i++) {
		struct v4l2_plane plane = { 0 };
		struct v4l2_buffer buffer = { .type = q->type, .index = i, .memory = q->memory };
		bool multi = is_multiplanar(q->type);
		int ret;

		if (multi) {
			buffer.m.planes = &plane;
			buffer.length = 1;
		}
		ret = xioctl(q->fd, VIDIOC_QUERYBUF, &buffer);
		if (ret < 0)
			return ret;
		q->buffers[i].length = multi ? plane.length : buffer.length;
		q->buffers[i].data =
			mmap(NULL, q->buffers[i].length, PROT_READ | PROT_WRITE, MAP_SHARED, q->fd,
			     multi ? plane.m.mem_offset : buffer.m.offset);
		if (q->buffers[i].data == MAP_FAILED) {
			q->buffers[i].data = NULL;
			return -errno;
		}
	}
	return 0;
}

int queue_export(struct queue *q)
{
	for (uint32_t i = 0; i < q->count; i++) {
		struct v4l2_exportbuffer export = {
			.type = q->type, .index = i, .flags = O_RDWR | O_CLOEXEC,
		};
		int ret = xioctl(q->fd, VIDIOC_EXPBUF, &export);

		if (ret < 0)
			return ret;
		q->buffers[i].dmabuf = export.fd;
	}
	return 0;
}

void queue_free(struct queue *q)
{
	for (uint32_t i = 0; i < q->count; i++) {
		if (q->buffers[i].data)
			munmap(q->buffers[i].data, q->buffers[i].length);
		if (q->buffers[i].dmabuf > 0)
			close(q->buffers[i].dmabuf);
		memset(&q->buffers[i], 0, sizeof(q->buffers[i]));
	}
	q->count = 0;
	queue_request(q, 0, q->memory);
}

int queue_on(struct queue *q)
{
	return xioctl(q->fd, VIDIOC_STREAMON, &q->type);
}

int queue_off(struct queue *q)
{
	return xioctl(q->fd, VIDIOC_STREAMOFF, &q->type);
}

int queue_put(struct queue *q, uint32_t index, uint32_t used, uint32_t length, int dmabuf,
	      int64_t timestamp_us)
{
	struct v4l2_plane plane = { .bytesused = used, .length = length };
	struct v4l2_buffer buffer = {
		.type = q->type, .index = index, .memory = q->memory,
		.timestamp = { timestamp_us / 1000000, timestamp_us % 1000000 },
	};

	if (is_multiplanar(q->type)) {
		plane.m.fd = dmabuf;
		buffer.m.planes = &plane;
		buffer.length = 1;
	} else {
		buffer.bytesused = used;
		buffer.length = length;
		buffer.m.fd = dmabuf;
	}
	return xioctl(q->fd, VIDIOC_QBUF, &buffer);
}

int queue_take(struct queue *q, struct taken *taken)
{
	struct v4l2_plane plane = { 0 };
	struct v4l2_buffer buffer = { .type = q->type, .memory = q->memory };
	int ret;

	if (is_multiplanar(q->type)) {
		buffer.m.planes = &plane;
		buffer.length = 1;
	}
	ret = xioctl(q->fd, VIDIOC_DQBUF, &buffer);
	if (ret < 0)
		return ret;
	*taken = (struct taken){
		.index = buffer.index,
		.begin = is_multiplanar(q->type) ? plane.data_offset : 0,
		.used = is_multiplanar(q->type) ? plane.bytesused : buffer.bytesused,
		.flags = buffer.flags,
		.sequence = buffer.sequence,
		.timestamp_us = buffer.timestamp.tv_sec * 1000000ll + buffer.timestamp.tv_usec,
	};
	return 0;
}
