// SPDX-License-Identifier: GPL-2.0
/* The interface of linux/dma-heap.h: a node for each heap, and one ioctl. */
#include <linux/cdev.h>
#include <linux/device.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/uaccess.h>
#include <uapi/linux/dma-heap.h>

#include "vdmaheap.h"

static char *vdh_contiguous = "linux,cma";
module_param_named(contiguous, vdh_contiguous, charp, 0444);
MODULE_PARM_DESC(contiguous, "name of the heap of contiguous memory; empty: none");

static char *vdh_scattered = "system";
module_param_named(scattered, vdh_scattered, charp, 0444);
MODULE_PARM_DESC(scattered, "name of the heap of scattered pages; empty: none");

/* Half of the board's memory: what nobody could mean. */
#define VDH_MOST_BYTES (512u << 20)

enum { VDH_CONTIGUOUS, VDH_SCATTERED, VDH_HEAPS };

static struct class *vdh_class;
static struct cdev vdh_cdev;
static dev_t vdh_first;

static int vdh_open(struct inode *inode, struct file *file)
{
	file->private_data = (void *)(uintptr_t)(iminor(inode) - MINOR(vdh_first));
	return nonseekable_open(inode, file);
}

static long vdh_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	bool contiguous = (uintptr_t)file->private_data == VDH_CONTIGUOUS;
	struct dma_heap_allocation_data data;
	int fd;

	if (cmd != DMA_HEAP_IOCTL_ALLOC)
		return -ENOTTY;
	if (copy_from_user(&data, (void __user *)arg, sizeof(data)))
		return -EFAULT;
	if (data.fd || data.fd_flags & ~DMA_HEAP_VALID_FD_FLAGS ||
	    data.heap_flags & ~DMA_HEAP_VALID_HEAP_FLAGS)
		return -EINVAL;
	if (!data.len || data.len > VDH_MOST_BYTES)
		return -EINVAL;
	fd = vdh_buffer_fd(PAGE_ALIGN(data.len), contiguous, data.fd_flags);
	if (fd < 0)
		return fd;
	data.fd = fd;
	/* The descriptor is in the process's table already: it goes when the process does. */
	return copy_to_user((void __user *)arg, &data, sizeof(data)) ? -EFAULT : 0;
}

static const struct file_operations vdh_fops = {
	.owner = THIS_MODULE,
	.open = vdh_open,
	.unlocked_ioctl = vdh_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static char *vdh_devnode(const struct device *dev, umode_t *mode)
{
	return kasprintf(GFP_KERNEL, "dma_heap/%s", dev_name(dev));
}

static void vdh_remove_nodes(void)
{
	int i;

	for (i = 0; i < VDH_HEAPS; i++)
		device_destroy(vdh_class, vdh_first + i);
}

static int vdh_make_nodes(void)
{
	const char *names[VDH_HEAPS] = {
		[VDH_CONTIGUOUS] = vdh_contiguous,
		[VDH_SCATTERED] = vdh_scattered,
	};
	int i;

	for (i = 0; i < VDH_HEAPS; i++) {
		struct device *node;

		if (!*names[i])
			continue;
		node = device_create(vdh_class, NULL, vdh_first + i, NULL, "%s", names[i]);
		if (IS_ERR(node)) {
			vdh_remove_nodes();
			return PTR_ERR(node);
		}
	}
	return 0;
}

static int __init vdh_init(void)
{
	int ret = alloc_chrdev_region(&vdh_first, 0, VDH_HEAPS, "dma_heap");

	if (ret)
		return ret;
	vdh_class = class_create("dma_heap");
	if (IS_ERR(vdh_class)) {
		ret = PTR_ERR(vdh_class);
		goto err_region;
	}
	vdh_class->devnode = vdh_devnode;
	cdev_init(&vdh_cdev, &vdh_fops);
	ret = cdev_add(&vdh_cdev, vdh_first, VDH_HEAPS);
	if (ret)
		goto err_class;
	ret = vdh_make_nodes();
	if (ret)
		goto err_cdev;
	return 0;

err_cdev:
	cdev_del(&vdh_cdev);
err_class:
	class_destroy(vdh_class);
err_region:
	unregister_chrdev_region(vdh_first, VDH_HEAPS);
	return ret;
}
module_init(vdh_init);

static void __exit vdh_exit(void)
{
	vdh_remove_nodes();
	cdev_del(&vdh_cdev);
	class_destroy(vdh_class);
	unregister_chrdev_region(vdh_first, VDH_HEAPS);
}
module_exit(vdh_exit);

MODULE_DESCRIPTION("Virtual dma-heaps, with caches that must be synced");
MODULE_LICENSE("GPL");
