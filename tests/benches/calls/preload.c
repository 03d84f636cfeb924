/* What a user would do without a hook: a library that is loaded before libc
 * moves wildcard binds, and binds what connects or sends unbound, to the
 * addresses in BIND4 and BIND6. It does the least that is right: a table tells
 * which descriptors are bound, so that a socket pays once. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MOST 65536

static int (*real_bind)(int, const struct sockaddr *, socklen_t);
static int (*real_connect)(int, const struct sockaddr *, socklen_t);
static ssize_t (*real_sendto)(int, const void *, size_t, int, const struct sockaddr *, socklen_t);
static int (*real_close)(int);
static struct sockaddr_in own4;
static struct sockaddr_in6 own6, mapped;
static unsigned char bound[MOST];

__attribute__((constructor)) static void start(void)
{
	const char *four = getenv("BIND4"), *six = getenv("BIND6");

	real_bind = dlsym(RTLD_NEXT, "bind");
	real_connect = dlsym(RTLD_NEXT, "connect");
	real_sendto = dlsym(RTLD_NEXT, "sendto");
	real_close = dlsym(RTLD_NEXT, "close");
	own4.sin_family = AF_INET;
	own6.sin6_family = mapped.sin6_family = AF_INET6;
	if (!four || !six || inet_pton(AF_INET, four, &own4.sin_addr) != 1 ||
	    inet_pton(AF_INET6, six, &own6.sin6_addr) != 1)
		abort();
	memset(mapped.sin6_addr.s6_addr + 10, 0xff, 2);
	memcpy(mapped.sin6_addr.s6_addr + 12, &own4.sin_addr, 4);
}

static void bind_once(int fd, const struct sockaddr *to)
{
	const struct sockaddr_in6 *to6 = (const void *)to;
	int on = 1;

	if (fd < 0 || fd >= MOST || bound[fd])
		return;
	bound[fd] = 1;
	if (to->sa_family != AF_INET && to->sa_family != AF_INET6)
		return;
	/* The port is chosen by connect(2), as it would be. */
	setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
	if (to->sa_family == AF_INET)
		real_bind(fd, (struct sockaddr *)&own4, sizeof own4);
	else if (IN6_IS_ADDR_V4MAPPED(&to6->sin6_addr))
		real_bind(fd, (struct sockaddr *)&mapped, sizeof mapped);
	else
		real_bind(fd, (struct sockaddr *)&own6, sizeof own6);
}

int bind(int fd, const struct sockaddr *address, socklen_t length)
{
	struct sockaddr_in four;
	struct sockaddr_in6 six;

	if (fd >= 0 && fd < MOST)
		bound[fd] = 1;
	if (address->sa_family == AF_INET && length >= sizeof four) {
		memcpy(&four, address, sizeof four);
		if (four.sin_addr.s_addr == INADDR_ANY)
			four.sin_addr = own4.sin_addr;
		return real_bind(fd, (struct sockaddr *)&four, sizeof four);
	}
	if (address->sa_family == AF_INET6 && length >= sizeof six) {
		memcpy(&six, address, sizeof six);
		if (IN6_IS_ADDR_UNSPECIFIED(&six.sin6_addr))
			six.sin6_addr = own6.sin6_addr;
		return real_bind(fd, (struct sockaddr *)&six, sizeof six);
	}
	return real_bind(fd, address, length);
}

int connect(int fd, const struct sockaddr *to, socklen_t length)
{
	bind_once(fd, to);
	return real_connect(fd, to, length);
}

ssize_t sendto(int fd, const void *data, size_t size, int flags, const struct sockaddr *to,
	       socklen_t length)
{
	if (to)
		bind_once(fd, to);
	return real_sendto(fd, data, size, flags, to, length);
}

int close(int fd)
{
	if (fd >= 0 && fd < MOST)
		bound[fd] = 0;
	return real_close(fd);
}
