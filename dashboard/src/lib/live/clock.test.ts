import { expect, it } from 'vitest';
import { ServerClock } from './clock';

it('takes the message that was under way shortest', () => {
	const clock = new ServerClock();
	expect(clock.at(5000)).toBe(5000);
	// The server is 60 s ahead; messages take 800, 20 and 300 ms.
	clock.observe(new Date(1_060_000).toISOString(), 1_000_800);
	clock.observe(new Date(1_061_000).toISOString(), 1_001_020);
	clock.observe(new Date(1_062_000).toISOString(), 1_002_300);
	expect(clock.at(2_000_000)).toBe(2_059_980);
	clock.observe('no time', 0);
	clock.observe(undefined, 0);
	expect(clock.at(2_000_000)).toBe(2_059_980);
	clock.reset();
	expect(clock.at(2_000_000)).toBe(2_000_000);
});
