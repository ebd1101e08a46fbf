// SPDX-License-Identifier: GPL-2.0
/*
 * Runs the module's coder in user space, for the script check-coder.
 * usage: WIDTH HEIGHT QP PCM GOP IN.yuv OUT.h264 RECON.yuv
 * QP 0 sweeps all quantizers. A decoder must turn OUT.h264 into RECON.yuv, byte for byte.
 */
#include <stdio.h>
#include <stdlib.h>

#include "coder.h"

static void write_plane(FILE *file, const u8 *plane, u32 stride, u32 width, u32 height)
{
	u32 y;

	for (y = 0; y < height; y++)
		fwrite(plane + y * stride, 1, width, file);
}

int main(int argc, char **argv)
{
	static struct h264_coder coder;
	static u8 out[4 << 20];
	u32 width, height, gop, qp, frame_size, n, p;
	FILE *in, *coded, *recon;
	u8 *frame, *memory;

	if (argc != 9)
		return 2;
	width = atoi(argv[1]);
	height = atoi(argv[2]);
	qp = atoi(argv[3]);
	gop = atoi(argv[5]);
	frame_size = width * height * 3 / 2;
	memory = calloc(1, h264_memory_size(width, height));
	frame = malloc(frame_size);
	in = fopen(argv[6], "rb");
	coded = fopen(argv[7], "wb");
	recon = fopen(argv[8], "wb");
	if (!memory || !frame || !in || !coded || !recon)
		return 1;
	h264_init(&coder, memory, width, height);
	coder.pcm = atoi(argv[4]);
	coder.profile_idc = 66;
	coder.constraint_flags = 0xe0;
	coder.level_idc = 31;
	coder.rate_num = 30;
	coder.rate_den = 1;
	for (n = 0; fread(frame, 1, frame_size, in) == frame_size; n++) {
		struct h264_picture pic = {
			.y = frame,
			.u = frame + width * height,
			.v = frame + width * height * 5 / 4,
			.y_stride = width,
			.c_stride = width / 2,
			.y_step = 1,
			.c_step = 1,
			.c_vdiv = 2,
		};
		bool idr = n % gop == 0;
		u32 size;

		if (idr)
			fwrite(out, 1, h264_write_headers(&coder, out, sizeof(out)), coded);
		size = h264_write_picture(&coder, &pic, out, sizeof(out), idr, qp ? qp : n % 52);
		fwrite(out, 1, size, coded);
		write_plane(recon, coder.recon[0], coder.mb_width * 16, width, height);
		for (p = 1; p < 3; p++)
			write_plane(recon, coder.recon[p], coder.mb_width * 8, width / 2,
				    height / 2);
	}
	return fclose(in) || fclose(coded) || fclose(recon);
}
