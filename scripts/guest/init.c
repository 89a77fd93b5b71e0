// SPDX-License-Identifier: GPL-2.0
/*
 * init - PID 1 of the initramfs in which the tests run.
 *
 * Mounts what tests expect, runs one job between the lines "@@begin job" and
 * "@@end job STATUS", by which the host finds its output and exit status on
 * the console, and powers the machine off.  The job is /job, run by
 * /bin/busybox sh, if it is there; otherwise /program, with the NUL-terminated
 * arguments in /program.args (which may be missing: none).  STATUS is the
 * job's exit status, or 128 plus the signal that killed it.
 *
 * Warnings of the kernel do not go to the console, where they would cut lines of
 * the job in two.  They come behind the job, in lines that start with "kernel: ".
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* What a shell says when a command cannot be executed. */
#define STATUS_NOT_RUN 127

#define MAX_ARGS 64

/* How much of the kernel's log is shown from a warning on. */
#define WARNING_LINES 60

static const struct mount {
	const char *type;
	const char *where;
} mounts[] = {
	{ "proc",	"/proc" },
	{ "sysfs",	"/sys" },
	{ "devtmpfs",	"/dev" },
	{ "debugfs",	"/sys/kernel/debug" },
	{ "tmpfs",	"/tmp" },
	{ }
};

static void mount_all(void)
{
	const struct mount *m;

	for (m = mounts; m->type; m++) {
		mkdir(m->where, 0755);

		/* EBUSY: the kernel can have mounted devtmpfs by itself. */
		if (mount(m->type, m->where, m->type, 0, NULL) && errno != EBUSY)
			printf("init: no %s on %s: %s\n", m->type, m->where, strerror(errno));
	}
}

/*
 * There is a VM for as long as the machine runs.  With the first one KVM patches
 * calls into the scheduler (preempt_notifier_key), and out with the last.  QEMU can
 * keep its translation of an instruction from before the patch, if another CPU
 * translates the code just then: a vCPU's thread then leaves its CPU with the
 * guest's registers in it, which KVM says in kvm_vcpu_load_debug().
 */
static void hold_vm(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (kvm >= 0)
		ioctl(kvm, KVM_CREATE_VM, 0);
}

static void exec_job(void)
{
	static char args[4096];
	char *argv[MAX_ARGS + 2] = { "/program" };
	ssize_t len = 0, at;
	int argc = 1, fd;

	setenv("PATH", "/bin:/sbin:/usr/bin:/usr/sbin", 1);
	setenv("HOME", "/", 1);

	if (!access("/job", R_OK)) {
		execl("/bin/busybox", "sh", "/job", NULL);
		printf("init: /bin/busybox: %s\n", strerror(errno));
		return;
	}

	fd = open("/program.args", O_RDONLY);
	if (fd >= 0)
		len = read(fd, args, sizeof(args) - 1);

	for (at = 0; at < len && argc <= MAX_ARGS; at += strlen(args + at) + 1)
		argv[argc++] = args + at;

	execv(argv[0], argv);
	printf("init: %s: %s\n", argv[0], strerror(errno));
}

/* Prints the kernel's log from the first warning on. */
static void print_warnings(void)
{
	char record[8192], *text, *end;
	int left = 0, log;
	ssize_t len;

	log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (log < 0) {
		printf("kernel: WARNING: its log cannot be read: %s\n", strerror(errno));
		return;
	}

	for (;;) {
		len = read(log, record, sizeof(record) - 1);
		/* The oldest records were overwritten meanwhile; the next read goes on behind them. */
		if (len < 0 && errno == EPIPE)
			continue;
		if (len <= 0)
			break;
		record[len] = '\0';

		/* "PRIORITY,NUMBER,TIME,FLAGS;TEXT\n", and lines of a device behind it. */
		text = strchr(record, ';');
		if (!text)
			continue;
		text++;
		end = strchr(text, '\n');
		if (end)
			*end = '\0';

		/* The last is lockdep's, of a wrong context. */
		if (!left && (!strncmp(text, "WARNING: ", 9) || !strncmp(text, "BUG: ", 5) ||
			      !strncmp(text, "[ BUG: ", 7)))
			left = WARNING_LINES;
		if (left && left--)
			printf("kernel: %s\n", text);
	}
	close(log);
}

int main(void)
{
	int wstatus, status = STATUS_NOT_RUN;
	pid_t job, pid;

	/* Nothing may wait in a buffer that fork() would double. */
	setvbuf(stdout, NULL, _IOLBF, 0);
	mount_all();
	hold_vm();
	printf("@@begin job\n");

	job = fork();
	if (!job) {
		exec_job();
		_exit(STATUS_NOT_RUN);
	}

	/* Orphans of the job become children of PID 1: reap them as well. */
	while (job > 0) {
		pid = wait(&wstatus);
		if (pid < 0 && errno != EINTR)
			break;
		if (pid != job)
			continue;
		status = WIFSIGNALED(wstatus) ? 128 + WTERMSIG(wstatus) : WEXITSTATUS(wstatus);
		break;
	}

	/* On a line of its own, even after output that ends without one. */
	printf("\n@@end job %d\n", status);
	print_warnings();
	fflush(stdout);
	sync();
	reboot(RB_POWER_OFF);

	/* Without a way to power off, -no-reboot makes QEMU leave here. */
	reboot(RB_AUTOBOOT);
	return status;
}
