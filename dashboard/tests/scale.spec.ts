// A thousand nodes and a thousand jobs: only what is in sight is in the page, however fast it changes.
import { largeCluster, node } from './fixture/objects';
import { expect, test } from './fixture/test';

/** Rows in sight of an 800 px screen, those drawn ahead, and the head. */
const MAX_ROWS = 50;

test.beforeEach(({ orchestrator }) => orchestrator.load(largeCluster()));

test('a table draws the rows in sight, and the last when scrolled to', async ({ page }) => {
	await page.goto('/nodes');
	const table = page.getByRole('table', { name: 'Nodes' });
	await expect(table).toHaveAttribute('aria-rowcount', '1001');
	expect(await page.getByRole('row').count()).toBeLessThan(MAX_ROWS);
	await page.keyboard.press('End');
	await expect(page.getByRole('link', { name: 'draco-999', exact: true })).toBeInViewport();
	expect(await page.getByRole('row').count()).toBeLessThan(MAX_ROWS);
	await expect(page.getByRole('row').last()).toHaveAttribute('aria-rowindex', '1001');
	await page.getByRole('searchbox').fill('atlas-888');
	await expect(page.getByRole('row')).toHaveCount(2);
});

test('a flood of events is drawn frame by frame and ends in the newest state', async ({
	page,
	orchestrator
}) => {
	await page.goto('/nodes');
	await expect(page.getByRole('row').nth(1)).toBeVisible();
	await page.evaluate(() => {
		const counts = { frames: 0, draws: 0 };
		Object.assign(window, { counts });
		const frame = () => {
			counts.frames++;
			requestAnimationFrame(frame);
		};
		requestAnimationFrame(frame);
		new MutationObserver(() => counts.draws++).observe(document.querySelector('[role=table]')!, {
			subtree: true,
			characterData: true,
			attributes: true,
			childList: true
		});
	});
	for (let round = 1; round <= 10; round++) {
		for (let index = 0; index < 1000; index++) {
			const one = node(index);
			orchestrator.putNode({ ...one, usage: { ...one.usage, cpuPercent: round * 9 } });
		}
	}
	for (const row of [1, 2, 3]) await expect(page.getByRole('row').nth(row)).toContainText('90 %');
	const { frames, draws } = await page.evaluate(
		() => (window as unknown as { counts: { frames: number; draws: number } }).counts
	);
	// 10,000 events; a frame draws once, and the second hand of the clock once more.
	expect(draws).toBeLessThanOrEqual(2 * frames);
	expect(await page.getByRole('row').count()).toBeLessThan(MAX_ROWS);
});

test('a log of more than a hundred thousand lines keeps its newest and stays smooth', async ({
	page,
	orchestrator
}) => {
	const id = orchestrator.jobs[0]?.id ?? '';
	const entries = (from: number, count: number) =>
		Array.from({ length: count }, (_, index) => ({
			stream: 'stdout',
			attempt: 1,
			line: String(from + index),
			text: `line ${from + index}.${index % 7 ? '' : ' and more'.repeat(40)}`
		}));
	orchestrator.appendLog(id, ...entries(1, 102_000));
	await page.goto(`/jobs/${id}`);
	const log = page.getByRole('log');
	await expect(log.getByText('line 102000.', { exact: true })).toBeInViewport();
	const rows = log.locator('[data-line]');
	expect(await rows.count()).toBeLessThan(1000);
	await log.evaluate((element) => (element.scrollTop = 0));
	await expect(log).toContainText('2,000 earlier lines not shown');
	await expect(log.getByText('line 2002.', { exact: true })).toBeInViewport();
	expect(await rows.count()).toBeLessThan(1000);
	orchestrator.appendLog(id, ...entries(102_002, 1));
	await page.getByRole('searchbox').fill('line 60002.');
	await page.keyboard.press('Enter');
	await expect(log.getByText('line 60002.', { exact: true })).toBeInViewport();
	await expect(log.getByText('line 102002.')).toHaveCount(0);
	// Scrolling through the middle draws what is there, frame by frame.
	const slowest = await log.evaluate(async (element) => {
		let slowest = 0;
		let last = performance.now();
		for (let frame = 0; frame < 60; frame++) {
			element.scrollTop += 700;
			await new Promise((resolve) => requestAnimationFrame(resolve));
			const now = performance.now();
			slowest = Math.max(slowest, now - last);
			last = now;
		}
		return slowest;
	});
	expect(slowest).toBeLessThan(500);
	await page.getByRole('button', { name: 'Jump to the end' }).click();
	await expect(log.getByText('line 102002.')).toBeInViewport();
	orchestrator.appendLog(id, ...entries(102_003, 1));
	await expect(log.getByText('line 102003.')).toBeInViewport();
});
