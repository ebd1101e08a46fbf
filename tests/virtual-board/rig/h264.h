/* What a coded buffer holds, by its NAL units (ITU-T H.264 7.4.1, Annex B). */
#ifndef RIG_H264_H
#define RIG_H264_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct unit {
	bool parameters;	/* SPS and PPS */
	bool picture;
	bool idr;
};

struct unit unit_of(const uint8_t *data, size_t size);

#endif
