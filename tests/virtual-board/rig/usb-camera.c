/*
 * Plugs the USB camera of uvcsim.py into this machine's vhci-hcd, or does something to it at the other end.
 * usage: usb-camera plug|unplug|mute|unmute HOST PORT
 * The first line on the connection says what it is for; after "plug" the kernel speaks USB/IP on
 * it.
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int attach(int fd)
{
	/* Port 0, device 1 on bus 1, high speed (enum usb_device_speed). */
	FILE *file = fopen("/sys/devices/platform/vhci_hcd.0/attach", "w");

	if (!file)
		return -1;
	fprintf(file, "0 %d %d 3", fd, 0x10001);
	return fclose(file);
}

int main(int argc, char **argv)
{
	struct sockaddr_in host = { .sin_family = AF_INET };
	bool plug;
	int fd, one = 1;
	char line[16];

	if (argc != 4 || !inet_aton(argv[2], &host.sin_addr)) {
		fprintf(stderr, "usage: usb-camera plug|unplug|mute|unmute HOST PORT\n");
		return 2;
	}
	plug = !strcmp(argv[1], "plug");
	host.sin_port = htons(atoi(argv[3]));
	fd = socket(AF_INET, SOCK_STREAM, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&host, sizeof(host))) {
		perror("connect");
		return 1;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	snprintf(line, sizeof(line), "%s\n", argv[1]);
	if (write(fd, line, strlen(line)) != (ssize_t)strlen(line)) {
		perror("write");
		return 1;
	}
	if (plug && attach(fd)) {
		perror("attach");
		return 1;
	}
	return 0;
}
