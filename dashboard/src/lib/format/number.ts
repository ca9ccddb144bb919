const BINARY_UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

/** A 64-bit integer of the API, which JSON carries as a string; 0 when it is not given. */
export function toNumber(value: string | number | undefined): number {
	const number = Number(value ?? 0);
	return Number.isFinite(number) ? number : 0;
}

/** Bytes in binary units with three significant digits: "512 MiB", "1.43 GiB". */
export function formatBytes(value: string | number | undefined): string {
	let amount = toNumber(value);
	let unit = 0;
	while (Math.abs(amount) >= 1023.5 && unit < BINARY_UNITS.length - 1) {
		amount /= 1024;
		unit++;
	}
	return `${significant(amount, unit)} ${BINARY_UNITS[unit]}`;
}

/** Used of total in the total's unit: "3.2 / 16 GiB". */
export function formatBytesOf(
	used: string | number | undefined,
	total: string | number | undefined
): string {
	const whole = toNumber(total);
	const unit = whole < 1 ? 0 : Math.min(BINARY_UNITS.length - 1, Math.floor(Math.log2(whole) / 10));
	const scale = 1024 ** unit;
	return `${significant(toNumber(used) / scale, unit)} / ${significant(whole / scale, unit)} ${BINARY_UNITS[unit]}`;
}

function significant(amount: number, unit: number): string {
	if (unit === 0 || amount >= 99.95) return String(Math.round(amount));
	return String(Number(amount.toFixed(amount >= 9.995 ? 1 : 2)));
}

/** "37 %"; tenths only below 10, where they tell something. */
export function formatPercent(value: number | undefined): string {
	const percent = Math.min(100, Math.max(0, value ?? 0));
	return `${percent > 0 && percent < 9.95 ? percent.toFixed(1) : Math.round(percent)} %`;
}

/** What part of the total is used, 0 to 100. */
export function percentOf(
	used: string | number | undefined,
	total: string | number | undefined
): number {
	const whole = toNumber(total);
	return whole > 0 ? Math.min(100, (toNumber(used) / whole) * 100) : 0;
}

export function formatCount(value: number): string {
	return value.toLocaleString('en-US');
}

/** "1 node", "1,204 nodes". */
export function plural(count: number, one: string, many = `${one}s`): string {
	return `${formatCount(count)} ${count === 1 ? one : many}`;
}

/** Thousandths of a core as cores: "0.5", "2". */
export function formatCores(millis: string | number | undefined): string {
	return String(Number((toNumber(millis) / 1000).toFixed(3)));
}
