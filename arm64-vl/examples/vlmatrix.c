// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Prints what the command vlmatrix prints, by the C API.
//
//	cc -o vlmatrix vlmatrix.c $(pkg-config --cflags --libs arm64-vl)
#include <arm64-vl.h>
#include <stdio.h>

// The bits of 512: more lengths there are not.
#define MAX_LENGTHS 512

static void print_lengths(const struct arm64_vl_lengths *lengths)
{
	uint32_t bytes[MAX_LENGTHS];
	size_t n, count = arm64_vl_lengths_bytes(lengths, bytes, MAX_LENGTHS);

	if (!count)
		printf("none");
	for (n = 0; n < count; n++)
		printf("%s%u", n ? " " : "", bytes[n]);
}

static void print_kind(const char *name, const struct arm64_vl_lengths *process,
		       uint32_t at_first, const struct arm64_vl_lengths *vcpu)
{
	printf("%-6sprocess  ", name);
	print_lengths(process);
	if (at_first)
		printf(", %u to begin with", at_first);
	printf("\n%-6svCPU     ", "");
	print_lengths(vcpu);
	printf("\n");
}

static const char *yes_no(bool yes)
{
	return yes ? "yes" : "no";
}

// The greatest length in common, by greatest lengths; the first row and column are without.
static int print_pairs(const struct arm64_vl_machine *machine, const struct arm64_vl_config *vcpu)
{
	uint32_t sve[MAX_LENGTHS + 1] = { 0 }, sme[MAX_LENGTHS + 1] = { 0 }, bytes[MAX_LENGTHS];
	size_t rows = 1 + arm64_vl_lengths_bytes(&vcpu->sve, sve + 1, MAX_LENGTHS);
	size_t columns = 1 + arm64_vl_lengths_bytes(&vcpu->sme, sme + 1, MAX_LENGTHS);
	struct arm64_vl_lengths common;
	size_t row, column, count;

	printf("\nThe greatest length in common of a vCPU, by its greatest SVE length (down) "
	       "and SME length (across):\n%6s%6s", "", "none");
	for (column = 1; column < columns; column++)
		printf("%6u", sme[column]);
	for (row = 0; row < rows; row++) {
		if (row)
			printf("\n%6u", sve[row]);
		else
			printf("\n%6s", "none");
		for (column = 0; column < columns; column++) {
			if (arm64_vl_machine_common(machine, sve[row], sme[column], &common))
				return -1;
			count = arm64_vl_lengths_bytes(&common, bytes, MAX_LENGTHS);
			if (count)
				printf("%6u", bytes[count - 1]);
			else
				printf("%6s", "-");
		}
	}
	printf("\n");
	return 0;
}

int main(void)
{
	struct arm64_vl_machine *machine;
	struct arm64_vl_info info = { .struct_size = sizeof(info) };
	const char *what;
	size_t n;
	int ret = 0;

	if (arm64_vl_machine_read(&machine)) {
		fprintf(stderr, "vlmatrix: %s\n", arm64_vl_error());
		return 1;
	}
	if (arm64_vl_machine_info(machine, &info)) {
		fprintf(stderr, "vlmatrix: %s\n", arm64_vl_error());
		arm64_vl_machine_free(machine);
		return 1;
	}

	printf("%s\n\n", arm64_vl_machine_name(machine));
	print_kind("SVE", &info.host.sve, info.sve_default, &info.vcpu.sve);
	print_kind("SME", &info.host.sme, info.sme_default, &info.vcpu.sme);
	printf("SME2  process  %s\n      vCPU     %s\n", yes_no(info.host.sme2), yes_no(info.vcpu.sme2));
	printf("FA64  process  %s\n      vCPU     %s\n", yes_no(info.host.fa64), yes_no(info.vcpu.fa64));
	for (n = 0; (what = arm64_vl_machine_missing(machine, n)); n++)
		printf("missing: %s\n", what);
	if (info.has_kvm)
		ret = print_pairs(machine, &info.vcpu);

	arm64_vl_machine_free(machine);
	return ret ? 1 : 0;
}
