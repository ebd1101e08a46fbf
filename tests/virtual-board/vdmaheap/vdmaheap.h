/* SPDX-License-Identifier: GPL-2.0 */
/*
 * vdmaheap: dma-heaps for a kernel that was built without any.
 *
 * heaps.c     /dev/dma_heap/NAME and its one ioctl
 * buffer.c    the memory, as a DMA-BUF: for devices, for processors, and what lies between them
 */
#ifndef VDMAHEAP_H
#define VDMAHEAP_H

#include <linux/types.h>

/* Allocates BYTES (whole pages) and returns a descriptor, or an error. */
int vdh_buffer_fd(size_t bytes, bool contiguous, int fd_flags);

#endif
