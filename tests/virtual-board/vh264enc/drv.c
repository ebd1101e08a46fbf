// SPDX-License-Identifier: GPL-2.0
/*
 * vh264enc: a virtual V4L2 stateful H.264 encoder for tests on real kernel code.
 * Follows Documentation/userspace-api/media/v4l/dev-encoder.rst.
 */
#include <linux/dma-mapping.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "vh264enc.h"

/* ---- one open file ---- */

static int vh_open(struct file *file)
{
	struct vh_dev *dev = video_drvdata(file);
	uint limit = vh_quirks.max_instances;
	struct vh_ctx *ctx;
	int ret;

	if (atomic_inc_return(&dev->instances) > limit && limit) {
		ret = -EBUSY;
		goto err_count;
	}
	/* The coder's scratch makes it too large for kmalloc's taste. */
	ctx = vzalloc(sizeof(*ctx));
	if (!ctx) {
		ret = -ENOMEM;
		goto err_count;
	}
	ctx->dev = dev;
	mutex_init(&ctx->lock);
	spin_lock_init(&ctx->drain_lock);
	INIT_WORK(&ctx->work, vh_work);
	v4l2_fh_init(&ctx->fh, &dev->vfd);
	file->private_data = &ctx->fh;

	ret = vh_controls_init(ctx);
	if (ret)
		goto err_fh;
	vh_default_formats(ctx);
	ctx->fh.m2m_ctx = v4l2_m2m_ctx_init(dev->m2m, ctx, vh_queue_init);
	if (IS_ERR(ctx->fh.m2m_ctx)) {
		ret = PTR_ERR(ctx->fh.m2m_ctx);
		goto err_controls;
	}
	v4l2_fh_add(&ctx->fh);
	return 0;

err_controls:
	v4l2_ctrl_handler_free(&ctx->controls);
err_fh:
	v4l2_fh_exit(&ctx->fh);
	mutex_destroy(&ctx->lock);
	vfree(ctx);
err_count:
	atomic_dec(&dev->instances);
	return ret;
}

static int vh_release(struct file *file)
{
	struct vh_dev *dev = video_drvdata(file);
	struct vh_ctx *ctx = vh_file_ctx(file);

	v4l2_fh_del(&ctx->fh);
	mutex_lock(&ctx->lock);
	v4l2_m2m_ctx_release(ctx->fh.m2m_ctx);
	mutex_unlock(&ctx->lock);
	v4l2_ctrl_handler_free(&ctx->controls);
	v4l2_fh_exit(&ctx->fh);
	mutex_destroy(&ctx->lock);
	vfree(ctx->coder_memory);
	vfree(ctx);
	atomic_dec(&dev->instances);
	return 0;
}

static const struct v4l2_file_operations vh_fops = {
	.owner = THIS_MODULE,
	.open = vh_open,
	.release = vh_release,
	.poll = v4l2_m2m_fop_poll,
	.unlocked_ioctl = video_ioctl2,
	.mmap = v4l2_m2m_fop_mmap,
};

/* ---- the device ---- */

/* Called when the last file is closed and the driver is unbound, whichever comes later. */
static void vh_device_release(struct v4l2_device *v4l2_dev)
{
	struct vh_dev *dev = container_of(v4l2_dev, struct vh_dev, v4l2_dev);

	v4l2_device_unregister(&dev->v4l2_dev);
	v4l2_m2m_release(dev->m2m);
	media_device_cleanup(&dev->mdev);
	destroy_workqueue(dev->workqueue);
	kfree(dev);
}

static void vh_video_init(struct vh_dev *dev)
{
	struct video_device *vfd = &dev->vfd;

	strscpy(vfd->name, VH_NAME, sizeof(vfd->name));
	vfd->v4l2_dev = &dev->v4l2_dev;
	vfd->fops = &vh_fops;
	vfd->ioctl_ops = &vh_ioctl_ops;
	vfd->vfl_dir = VFL_DIR_M2M;
	vfd->release = video_device_release_empty;
	vfd->device_caps = V4L2_CAP_STREAMING;
	vfd->device_caps |= vh_quirks.multiplanar ? V4L2_CAP_VIDEO_M2M_MPLANE : V4L2_CAP_VIDEO_M2M;
	video_set_drvdata(vfd, dev);
}

static int vh_probe(struct platform_device *pdev)
{
	struct vh_dev *dev;
	int ret;

	ret = dma_coerce_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(32));
	if (ret)
		return ret;
	dev = kzalloc(sizeof(*dev), GFP_KERNEL);
	if (!dev)
		return -ENOMEM;
	dev->dev = &pdev->dev;
	platform_set_drvdata(pdev, dev);

	/* One frame at a time, as hardware with one core has it. */
	dev->workqueue = alloc_ordered_workqueue(VH_NAME, 0);
	if (!dev->workqueue) {
		ret = -ENOMEM;
		goto err_free;
	}
	ret = v4l2_device_register(&pdev->dev, &dev->v4l2_dev);
	if (ret)
		goto err_workqueue;
	dev->m2m = v4l2_m2m_init(&vh_m2m_ops);
	if (IS_ERR(dev->m2m)) {
		ret = PTR_ERR(dev->m2m);
		goto err_v4l2;
	}
	dev->mdev.dev = &pdev->dev;
	strscpy(dev->mdev.model, VH_NAME, sizeof(dev->mdev.model));
	media_device_init(&dev->mdev);
	dev->v4l2_dev.mdev = &dev->mdev;
	vh_video_init(dev);

	/* From here on a file may be open: what follows is undone by the last reference. */
	dev->v4l2_dev.release = vh_device_release;
	ret = video_register_device(&dev->vfd, VFL_TYPE_VIDEO, -1);
	if (ret)
		goto err_put;
	ret = v4l2_m2m_register_media_controller(dev->m2m, &dev->vfd,
						 MEDIA_ENT_F_PROC_VIDEO_ENCODER);
	if (ret)
		goto err_video;
	ret = media_device_register(&dev->mdev);
	if (ret)
		goto err_controller;
	v4l2_info(&dev->v4l2_dev, "registered as %s\n", video_device_node_name(&dev->vfd));
	return 0;

err_controller:
	v4l2_m2m_unregister_media_controller(dev->m2m);
err_video:
	video_unregister_device(&dev->vfd);
err_put:
	v4l2_device_disconnect(&dev->v4l2_dev);
	v4l2_device_put(&dev->v4l2_dev);
	return ret;

err_v4l2:
	v4l2_device_unregister(&dev->v4l2_dev);
err_workqueue:
	destroy_workqueue(dev->workqueue);
err_free:
	kfree(dev);
	return ret;
}

static void vh_remove(struct platform_device *pdev)
{
	struct vh_dev *dev = platform_get_drvdata(pdev);

	media_device_unregister(&dev->mdev);
	v4l2_m2m_unregister_media_controller(dev->m2m);
	video_unregister_device(&dev->vfd);
	v4l2_device_disconnect(&dev->v4l2_dev);
	v4l2_device_put(&dev->v4l2_dev);
}

static struct platform_driver vh_driver = {
	.probe = vh_probe,
	.remove_new = vh_remove,
	.driver = { .name = VH_NAME },
};

static struct platform_device *vh_pdev;

static int __init vh_init(void)
{
	int ret = platform_driver_register(&vh_driver);

	if (ret)
		return ret;
	vh_pdev = platform_device_register_simple(VH_NAME, PLATFORM_DEVID_NONE, NULL, 0);
	if (IS_ERR(vh_pdev)) {
		platform_driver_unregister(&vh_driver);
		return PTR_ERR(vh_pdev);
	}
	return 0;
}
module_init(vh_init);

static void __exit vh_exit(void)
{
	platform_device_unregister(vh_pdev);
	platform_driver_unregister(&vh_driver);
}
module_exit(vh_exit);

MODULE_DESCRIPTION("Virtual V4L2 stateful H.264 encoder");
MODULE_LICENSE("GPL");
