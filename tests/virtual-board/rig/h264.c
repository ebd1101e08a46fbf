#include "h264.h"

enum { NAL_SLICE = 1, NAL_IDR = 5, NAL_SPS = 7, NAL_PPS = 8 };

struct unit unit_of(const uint8_t *data, size_t size)
{
	bool sps = false, pps = false;
	struct unit unit = { 0 };

	for (size_t i = 0; i + 3 < size; i++) {
		if (data[i] || data[i + 1] || data[i + 2] != 1)
			continue;
		switch (data[i + 3] & 31) {
		case NAL_SPS:
			sps = true;
			break;
		case NAL_PPS:
			pps = true;
			break;
		case NAL_IDR:
			unit.idr = true;
			unit.picture = true;
			break;
		case NAL_SLICE:
			unit.picture = true;
			break;
		}
	}
	unit.parameters = sps && pps;
	return unit;
}
