// SPDX-License-Identifier: GPL-2.0
/*
 * carry - a file between the emulated machine and the one on which QEMU runs.
 *
 * By semihosting, of which a program can make use where QEMU is started with
 * -semihosting-config enable=on,target=native,userspace=on: a hundred times as
 * fast as a serial port.
 *
 * usage: carry out FILE THERE      FILE of this machine becomes THERE
 *        carry in THERE FILE
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Operations of "Semihosting for AArch32 and AArch64", and modes of SYS_OPEN: "rb" and "wb". */
enum { SYS_OPEN = 1, SYS_CLOSE = 2, SYS_WRITE = 5, SYS_READ = 6 };
enum { RB = 1, WB = 5 };

static long call(long operation, uint64_t one, uint64_t two, uint64_t three)
{
	uint64_t block[3] = { one, two, three };
	register long x0 asm("x0") = operation;
	register uint64_t *x1 asm("x1") = block;

	asm volatile("hlt #0xf000" : "+r" (x0) : "r" (x1) : "memory");
	return x0;
}

static int fail(const char *what)
{
	printf("carry: %s\n", what);
	return 1;
}

int main(int argc, char **argv)
{
	static char buffer[1 << 20];
	const char *there, *here;
	ssize_t len;
	long file;
	int out, fd;

	if (argc != 4 || (strcmp(argv[1], "out") && strcmp(argv[1], "in")))
		return fail("usage: carry out FILE THERE, carry in THERE FILE");

	out = !strcmp(argv[1], "out");
	here = argv[out ? 2 : 3];
	there = argv[out ? 3 : 2];
	fd = open(here, out ? O_RDONLY : O_WRONLY | O_CREAT | O_TRUNC, 0644);
	if (fd < 0)
		return fail(here);
	file = call(SYS_OPEN, (uintptr_t)there, out ? WB : RB, strlen(there));
	if (file < 0)
		return fail(there);

	/* QEMU does not bring in pages that are not there. */
	memset(buffer, 1, sizeof(buffer));
	for (;;) {
		/* Both operations give how much is left of what was asked for. */
		len = out ? read(fd, buffer, sizeof(buffer)) :
			    (ssize_t)sizeof(buffer) -
			    call(SYS_READ, file, (uintptr_t)buffer, sizeof(buffer));
		if (len <= 0)
			break;
		if (out ? call(SYS_WRITE, file, (uintptr_t)buffer, len) :
			  write(fd, buffer, len) != len)
			return fail("not all of it is written");
	}
	if (len < 0 || call(SYS_CLOSE, file, 0, 0) || close(fd))
		return fail("not all of it is read");
	return 0;
}
