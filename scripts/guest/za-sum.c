// SPDX-License-Identifier: GPL-2.0
/*
 * za-sum - a running sum in ZA, in streaming mode.
 *
 * Adds the outer product of two vectors to ZA again and again, without a
 * system call, as that would leave streaming mode: whoever stops the machine
 * meanwhile finds SVCR.SM and SVCR.ZA set.  Then every number in ZA has to be
 * what it is by arithmetic.  One sum lost or one too many, or a vector that
 * is not what it was, and all that follows is wrong.
 *
 * usage: za-sum [FILE]
 * Goes on until there is FILE; without one it makes one sum.  Prints how many
 * were right, or the first number that is wrong.
 */
#include <asm/hwcap.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <unistd.h>

#ifndef PR_SME_SET_VL
#define PR_SME_SET_VL 63
#endif

#define KSFT_SKIP 4
#define MAX_SVL 256

/* Rows and columns count from 1: 64 * 64 * STEPS is exact in a float. */
#define STEPS 4000

/* Row n of ZA0.S, in which is the sum of STEPS products of (n + 1) and each number from 1. */
static void sum(float *rows)
{
	asm volatile(".arch_extension sme\n"
		"	smstart\n"
		"	ptrue	p0.s\n"
		"	index	z0.s, #1, #1\n"
		"	scvtf	z0.s, p0/m, z0.s\n"
		"	mov	z1.d, z0.d\n"
		"	zero	{za}\n"
		"	mov	w9, %w[steps]\n"
		"1:	fmopa	za0.s, p0/m, p0/m, z0.s, z1.s\n"
		"	subs	w9, w9, #1\n"
		"	b.ne	1b\n"
		"	mov	x9, %[rows]\n"
		"	rdsvl	x10, #1\n"
		"	lsr	x11, x10, #2\n"
		"	mov	w12, #0\n"
		"2:	st1w	{za0h.s[w12, 0]}, p0, [x9]\n"
		"	add	x9, x9, x10\n"
		"	add	w12, w12, #1\n"
		"	cmp	w12, w11\n"
		"	b.lo	2b\n"
		"	smstop\n"
		: : [rows] "r" (rows), [steps] "r" (STEPS)
		: "x9", "x10", "x11", "x12", "cc", "memory",
		  "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10",
		  "v11", "v12", "v13", "v14", "v15", "v16", "v17", "v18", "v19", "v20",
		  "v21", "v22", "v23", "v24", "v25", "v26", "v27", "v28", "v29", "v30",
		  "v31");
}

static unsigned int svl(void)
{
	uint64_t bytes;

	asm volatile(".arch_extension sme\n	rdsvl	%0, #1\n" : "=r" (bytes));
	return bytes;
}

int main(int argc, char **argv)
{
	static float rows[MAX_SVL / 4 * MAX_SVL / 4];
	unsigned int sums = 0, n, i;

	if (!(getauxval(AT_HWCAP2) & HWCAP2_SME)) {
		printf("no SME\n");
		return KSFT_SKIP;
	}

	/* The greatest that there is, with which a sum takes longest. */
	prctl(PR_SME_SET_VL, MAX_SVL);
	n = svl() / 4;
	do {
		/* Without its predicate, sum() would leave those of the sum before. */
		memset(rows, 0, sizeof(rows));
		sum(rows);
		for (i = 0; i < n * n; i++) {
			float want = (float)(i / n + 1) * (i % n + 1) * STEPS;

			if (rows[i] != want) {
				printf("row %u, column %u of ZA0 is %.0f, not %.0f, ",
				       i / n, i % n, rows[i], want);
				printf("after %u sums that are right\n", sums);
				return 1;
			}
		}
		sums++;
	} while (argc > 1 && access(argv[1], F_OK));

	printf("%u sums are right\n", sums);
	return 0;
}
