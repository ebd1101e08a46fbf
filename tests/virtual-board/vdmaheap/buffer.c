// SPDX-License-Identifier: GPL-2.0
/*
 * A buffer of a heap, twice: "memory" is what devices reach, "cache" is what processors see.
 *
 *   mmap, vmap ──► cache ── end_cpu_access (write), map ──► memory ◄── DMA
 *                        ◄── begin_cpu_access ────────────
 *
 * As on a board whose devices do not look into the processor's caches, where a picture that was
 * written and not synced is not there. Here that is certain, and there a matter of luck.
 */
#include <linux/dma-buf.h>
#include <linux/dma-mapping.h>
#include <linux/iosys-map.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "vdmaheap.h"

MODULE_IMPORT_NS(DMA_BUF);

struct vdh_buffer {
	size_t bytes;
	unsigned int count;		/* of pages */
	struct page **memory, **cache;
	struct mutex lock;		/* of copies between the two */
};

/* ---- pages ---- */

static void vdh_free_pages(struct page **pages, unsigned int count)
{
	unsigned int i;

	if (!pages)
		return;
	for (i = 0; i < count; i++)
		if (pages[i])
			__free_page(pages[i]);
	kvfree(pages);
}

/* One after the other in memory. A chunk larger than 4 MB does not exist. */
static int vdh_fill_contiguous(struct page **pages, unsigned int count)
{
	void *chunk = alloc_pages_exact((size_t)count << PAGE_SHIFT,
					GFP_KERNEL | GFP_DMA32 | __GFP_ZERO | __GFP_NOWARN);
	unsigned int i;

	if (!chunk)
		return -ENOMEM;
	for (i = 0; i < count; i++)
		pages[i] = virt_to_page(chunk + ((size_t)i << PAGE_SHIFT));
	return 0;
}

/*
 * Every other page first, then those between: pages that were allocated one after the other are
 * neighbours more often than not, and no two of these may be.
 */
static int vdh_fill_scattered(struct page **pages, unsigned int count)
{
	unsigned int start, i;

	for (start = 0; start < 2; start++) {
		for (i = start; i < count; i += 2) {
			pages[i] = alloc_page(GFP_KERNEL | GFP_DMA32 | __GFP_ZERO);
			if (!pages[i])
				return -ENOMEM;
		}
	}
	return 0;
}

static struct page **vdh_alloc_pages(unsigned int count, bool contiguous)
{
	struct page **pages = kvcalloc(count, sizeof(*pages), GFP_KERNEL);
	int ret;

	if (!pages)
		return NULL;
	ret = contiguous ? vdh_fill_contiguous(pages, count) : vdh_fill_scattered(pages, count);
	if (!ret)
		return pages;
	vdh_free_pages(pages, count);
	return NULL;
}

static void vdh_free(struct vdh_buffer *buffer)
{
	vdh_free_pages(buffer->memory, buffer->count);
	vdh_free_pages(buffer->cache, buffer->count);
	kfree(buffer);
}

static void vdh_copy(struct page **to, struct page **from, unsigned int count)
{
	unsigned int i;

	for (i = 0; i < count; i++)
		copy_page(page_address(to[i]), page_address(from[i]));
}

static void vdh_clean(struct vdh_buffer *buffer)
{
	guard(mutex)(&buffer->lock);
	vdh_copy(buffer->memory, buffer->cache, buffer->count);
}

static void vdh_invalidate(struct vdh_buffer *buffer)
{
	guard(mutex)(&buffer->lock);
	vdh_copy(buffer->cache, buffer->memory, buffer->count);
}

/* ---- for devices ---- */

static int vdh_attach(struct dma_buf *dmabuf, struct dma_buf_attachment *attachment)
{
	struct vdh_buffer *buffer = dmabuf->priv;
	struct sg_table *table = kzalloc(sizeof(*table), GFP_KERNEL);
	int ret;

	if (!table)
		return -ENOMEM;
	ret = sg_alloc_table_from_pages(table, buffer->memory, buffer->count, 0, buffer->bytes,
					GFP_KERNEL);
	if (ret) {
		kfree(table);
		return ret;
	}
	attachment->priv = table;
	return 0;
}

static void vdh_detach(struct dma_buf *dmabuf, struct dma_buf_attachment *attachment)
{
	struct sg_table *table = attachment->priv;

	sg_free_table(table);
	kfree(table);
}

static struct sg_table *vdh_map(struct dma_buf_attachment *attachment,
				enum dma_data_direction direction)
{
	struct sg_table *table = attachment->priv;
	int ret = dma_map_sgtable(attachment->dev, table, direction, 0);

	if (ret)
		return ERR_PTR(ret);
	if (direction != DMA_FROM_DEVICE)
		vdh_clean(attachment->dmabuf->priv);
	return table;
}

static void vdh_unmap(struct dma_buf_attachment *attachment, struct sg_table *table,
		      enum dma_data_direction direction)
{
	dma_unmap_sgtable(attachment->dev, table, direction, 0);
}

/* ---- for processors ---- */

static int vdh_begin_cpu_access(struct dma_buf *dmabuf, enum dma_data_direction direction)
{
	vdh_invalidate(dmabuf->priv);
	return 0;
}

static int vdh_end_cpu_access(struct dma_buf *dmabuf, enum dma_data_direction direction)
{
	if (direction != DMA_FROM_DEVICE)
		vdh_clean(dmabuf->priv);
	return 0;
}

static int vdh_mmap(struct dma_buf *dmabuf, struct vm_area_struct *vma)
{
	struct vdh_buffer *buffer = dmabuf->priv;

	if (!(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	return vm_map_pages(vma, buffer->cache, buffer->count);
}

/* The core counts: called for the first user, and after the last. */
static int vdh_vmap(struct dma_buf *dmabuf, struct iosys_map *map)
{
	struct vdh_buffer *buffer = dmabuf->priv;
	void *vaddr = vmap(buffer->cache, buffer->count, VM_MAP, PAGE_KERNEL);

	if (!vaddr)
		return -ENOMEM;
	iosys_map_set_vaddr(map, vaddr);
	return 0;
}

static void vdh_vunmap(struct dma_buf *dmabuf, struct iosys_map *map)
{
	vunmap(map->vaddr);
	iosys_map_clear(map);
}

static void vdh_release(struct dma_buf *dmabuf)
{
	vdh_free(dmabuf->priv);
}

static const struct dma_buf_ops vdh_ops = {
	.attach = vdh_attach,
	.detach = vdh_detach,
	.map_dma_buf = vdh_map,
	.unmap_dma_buf = vdh_unmap,
	.begin_cpu_access = vdh_begin_cpu_access,
	.end_cpu_access = vdh_end_cpu_access,
	.mmap = vdh_mmap,
	.vmap = vdh_vmap,
	.vunmap = vdh_vunmap,
	.release = vdh_release,
};

int vdh_buffer_fd(size_t bytes, bool contiguous, int fd_flags)
{
	DEFINE_DMA_BUF_EXPORT_INFO(info);
	struct vdh_buffer *buffer = kzalloc(sizeof(*buffer), GFP_KERNEL);
	struct dma_buf *dmabuf;
	int fd;

	if (!buffer)
		return -ENOMEM;
	mutex_init(&buffer->lock);
	buffer->bytes = bytes;
	buffer->count = bytes >> PAGE_SHIFT;
	buffer->memory = vdh_alloc_pages(buffer->count, contiguous);
	buffer->cache = vdh_alloc_pages(buffer->count, false);
	if (!buffer->memory || !buffer->cache) {
		vdh_free(buffer);
		return -ENOMEM;
	}
	info.ops = &vdh_ops;
	info.size = bytes;
	info.flags = fd_flags;
	info.priv = buffer;
	dmabuf = dma_buf_export(&info);
	if (IS_ERR(dmabuf)) {
		vdh_free(buffer);
		return PTR_ERR(dmabuf);
	}
	fd = dma_buf_fd(dmabuf, fd_flags);
	if (fd < 0)
		dma_buf_put(dmabuf);
	return fd;
}
