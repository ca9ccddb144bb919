// The page of one job: its log, its attempts, why it waits.
import { ago, job } from './fixture/objects';
import { expect, test } from './fixture/test';

/** An entry of a log. */
const said = (line: number, text: string, stream = 'stdout', attempt = 1) => ({
	stream,
	attempt,
	line: String(line),
	time: ago(1),
	text
});

test('the log is followed, without escape sequences and without running what it says', async ({
	page,
	orchestrator
}) => {
	const running = orchestrator.jobs[0] ?? {};
	const id = running.id ?? '';
	const entry = (line: number, text: string, stream = 'stdout') => ({
		stream,
		attempt: 1,
		line: String(line),
		time: ago(1),
		text
	});
	orchestrator.appendLog(id, entry(1, '\u001b[1;32mgreen\u001b[0m text'));
	await page.goto(`/jobs/${id}`);
	const log = page.getByRole('log');
	await expect(log).toContainText('green text');
	await expect(log).not.toContainText('[1;32m');
	orchestrator.appendLog(
		id,
		entry(2, '<img src=x onerror="document.title=\'owned\'">'),
		entry(1, 'on stderr', 'stderr')
	);
	await expect(log).toContainText('<img src=x');
	await expect(log.locator('img')).toHaveCount(0);
	await expect(page.getByText('following')).toBeVisible();
	await page.getByLabel('Times').check();
	await expect(log).toContainText(/\d\d:\d\d:\d\d/);

	orchestrator.endLog(id);
	orchestrator.putJob(job(0, 'JOB_STATE_SUCCEEDED'));
	await expect(page.getByText('complete', { exact: true })).toBeVisible();
	const result = page.getByRole('region', { name: 'Result' });
	await expect(result).toContainText('exit code 0');
	await expect(result).toContainText('The sum is 42.');
	expect(await page.title()).not.toBe('owned');
});

test.describe('a log whose connection breaks', () => {
	test.use({ networkErrors: true });

	test('is read on without a line twice', async ({ page, orchestrator }) => {
		const id = orchestrator.jobs[0]?.id ?? '';
		const entry = (line: number) => ({
			stream: 'stdout',
			attempt: 1,
			line: String(line),
			time: ago(1),
			text: `line ${line}.`
		});
		orchestrator.appendLog(id, entry(1), entry(2));
		await page.goto(`/jobs/${id}`);
		await expect(page.getByRole('log')).toContainText('line 2.');
		await orchestrator.stop();
		await expect(page.getByText(/lost, trying again/)).toBeVisible();
		orchestrator.appendLog(id, entry(3));
		await orchestrator.start();
		await expect(page.getByRole('log')).toContainText('line 3.');
		await expect(page.getByRole('log').getByText('line 1.', { exact: true })).toHaveCount(1);
	});
});

test('a queued job says why it waits', async ({ page, orchestrator }) => {
	const queued = orchestrator.jobs.find((one) => one.state === 'JOB_STATE_QUEUED');
	orchestrator.explanation = {
		jobId: queued?.id,
		summary: 'No node fits.',
		nodes: [
			{
				nodeId: 'node-0001',
				hostname: 'borealis-1',
				fits: false,
				reasons: ['no container runtime', 'needs 2 GPUs, has 0'],
				score: 0
			},
			{
				nodeId: 'node-0002',
				hostname: 'cygnus-2',
				fits: true,
				reasons: [],
				score: 75,
				scoreParts: [
					{ name: 'room left', points: 85 },
					{ name: 'GPUs kept for others', points: -10 }
				]
			}
		]
	};
	await page.goto(`/jobs/${queued?.id}`);
	const why = page.getByRole('region', { name: 'Why is this waiting?' });
	await expect(why).toContainText('No node fits.');
	await expect(why).toContainText('1 of 2 active nodes fits.');
	const nodes = why.locator('ul').first().locator('> li');
	await expect(nodes.nth(0)).toContainText('fits, score 75');
	await expect(nodes.nth(0)).toContainText('GPUs kept for others −10');
	await expect(nodes.nth(1).getByRole('listitem')).toHaveText([
		'no container runtime',
		'needs 2 GPUs, has 0'
	]);

	// It is asked again when a node takes no more work, and the nodes of a large cluster are folded.
	const asked = orchestrator.explained;
	orchestrator.explanation = {
		jobId: queued?.id,
		summary: 'Every node is full.',
		nodes: Array.from({ length: 30 }, (_, index) => ({
			nodeId: `n${index}`,
			hostname: `full-${String(index).padStart(2, '0')}`,
			fits: false,
			reasons: ['has no core left'],
			score: 0
		}))
	};
	const node = orchestrator.nodes.get('node-0002');
	orchestrator.putNode({ ...node, cordoned: true });
	await expect(why).toContainText('Every node is full.');
	expect(orchestrator.explained).toBe(asked + 1);
	await expect(why).toContainText('None of 30 active nodes fit.');
	await expect(nodes).toHaveCount(6);
	await why.getByRole('button', { name: 'Show all nodes' }).click();
	await expect(nodes).toHaveCount(30);
	// A heartbeat is no reason.
	orchestrator.putNode({ ...node, cordoned: true, lastHeartbeatAt: ago(0) });
	await expect(why.getByRole('link', { name: 'full-29' })).toBeVisible();
	expect(orchestrator.explained).toBe(asked + 1);
});

test('attempts are drawn on one scale, and each says what became of it', async ({
	page,
	orchestrator
}) => {
	const times = (assigned: number, started: number, finished: number) => ({
		assignedAt: ago(assigned),
		startedAt: ago(started),
		finishedAt: ago(finished)
	});
	const one = job(0, 'JOB_STATE_FAILED', {
		createdAt: ago(100),
		finishedAt: ago(0),
		attempts: [
			{
				number: 1,
				nodeId: 'node-0001',
				state: 'ATTEMPT_STATE_LOST',
				...times(90, 80, 50),
				reason: 'the node stopped renewing the lease'
			},
			{
				number: 2,
				nodeId: 'node-0002',
				state: 'ATTEMPT_STATE_FAILED',
				...times(40, 40, 0),
				exitCode: 137,
				failure: 'FAILURE_CLASS_OUT_OF_MEMORY',
				reason: 'it used more than 512 MiB'
			}
		]
	});
	orchestrator.putJob(one);
	await page.goto(`/jobs/${one.id}`);
	const attempts = page.getByRole('region', { name: 'Attempts' });
	const rows = attempts.getByRole('listitem');
	await expect(rows).toHaveCount(2);
	await expect(rows.nth(0)).toContainText('Attempt 2');
	await expect(rows.nth(0)).toContainText('out of memory');
	await expect(rows.nth(0)).toContainText('exit code 137');
	await expect(rows.nth(0)).toContainText('waited 10 s, prepared for 0 ms, ran for 40 s');
	await expect(rows.nth(1)).toContainText('lost');
	await expect(rows.nth(1)).toContainText('the node stopped renewing the lease');
	await expect(rows.nth(1)).toContainText('prepared for 10 s, ran for 30 s');
	await expect(rows.nth(1).getByRole('link', { name: 'borealis-1' })).toBeVisible();
	const box = async (row: number) => {
		const track = rows
			.nth(row)
			.locator('[aria-hidden]')
			.filter({ has: page.locator('> div') });
		const whole = await track.boundingBox();
		const bar = await track.locator('> div').last().boundingBox();
		return [
			((bar?.x ?? 0) - (whole?.x ?? 0)) / (whole?.width ?? 1),
			(bar?.width ?? 0) / (whole?.width ?? 1)
		];
	};
	for (const [row, left, width] of [
		[0, 0.6, 0.4],
		[1, 0.2, 0.3]
	] as const) {
		const [isLeft, isWidth] = await box(row);
		expect(isLeft).toBeCloseTo(left, 1);
		expect(isWidth).toBeCloseTo(width, 1);
	}
});

test('of very many attempts the newest are shown first', async ({ page, orchestrator }) => {
	const one = job(0, 'JOB_STATE_RUNNING', {
		attempts: Array.from({ length: 60 }, (_, index) => ({
			number: index + 1,
			nodeId: 'node-0001',
			state: 'ATTEMPT_STATE_FAILED' as const,
			assignedAt: ago(600 - index * 10),
			startedAt: ago(599 - index * 10),
			finishedAt: ago(595 - index * 10)
		}))
	});
	orchestrator.putJob(one);
	await page.goto(`/jobs/${one.id}`);
	const rows = page.getByRole('region', { name: 'Attempts' }).getByRole('listitem');
	await expect(rows).toHaveCount(10);
	await expect(rows.first()).toContainText('Attempt 60');
	await page.getByRole('button', { name: 'Show all 60 attempts' }).click();
	await expect(rows).toHaveCount(60);
});

test('the log is searched with the keyboard', async ({ page, orchestrator }) => {
	const id = orchestrator.jobs[0]?.id ?? '';
	orchestrator.appendLog(
		id,
		...Array.from({ length: 900 }, (_, index) =>
			said(index + 1, (index + 1) % 300 === 0 ? `An \u001b[31mERR\u001b[0mOR ${index + 1}` : 'fine')
		)
	);
	await page.goto(`/jobs/${id}`);
	const log = page.getByRole('log');
	await expect(log).toContainText('ERROR 900');
	await page.keyboard.press('/');
	const search = page.getByRole('searchbox', { name: 'Search the log' });
	await expect(search).toBeFocused();
	await search.fill('error');
	const bar = page.getByRole('search', { name: 'Log' });
	await expect(bar).toContainText('3 lines');
	const line = (number: number) => log.getByText(`ERROR ${number}`);
	await page.keyboard.press('Enter');
	await expect(bar).toContainText('3 of 3 lines');
	await page.keyboard.press('Enter');
	await expect(bar).toContainText('1 of 3 lines');
	await expect(line(300)).toBeInViewport();
	await expect(log.locator('mark').first()).toHaveText('ERR');
	await page.keyboard.press('Enter');
	await expect(line(600)).toBeInViewport();
	await page.keyboard.press('Shift+Enter');
	await expect(line(300)).toBeInViewport();
	await expect(bar).toContainText('1 of 3 lines');
	// What comes while one looks is counted, and does not move what one looks at.
	orchestrator.appendLog(id, said(901, 'another error'));
	await expect(bar).toContainText('1 of 4 lines');
	await expect(line(300)).toBeInViewport();
	await page.getByRole('button', { name: 'Previous match' }).click();
	await expect(log.getByText('another error')).toBeInViewport();
	await search.fill('nowhere');
	await expect(bar).toContainText('no line');
	await expect(page.getByRole('button', { name: 'Next match' })).toBeDisabled();
	await search.press('Escape');
	await expect(search).toHaveValue('');
	await expect(log.locator('mark')).toHaveCount(0);
});

test('the log has the colours of the program, and only those', async ({ page, orchestrator }) => {
	const id = orchestrator.jobs[0]?.id ?? '';
	orchestrator.appendLog(
		id,
		said(1, '\u001b[31mred\u001b[0m \u001b[1;3;4mloud\u001b[0m \u001b[38;2;1;2;3;48;5;231mboxed'),
		said(2, 'still boxed\u001b[0m plain'),
		said(3, '\u001b[38;2;0;0;0;background:url(//evil)mtext\u001b]8;;javascript:alert(1)\u0007link')
	);
	await page.goto(`/jobs/${id}`);
	const log = page.getByRole('log');
	await expect(log).toContainText('red loud boxed');
	const style = (text: string, property: string) =>
		log
			.getByText(text, { exact: true })
			.evaluate((element, name) => getComputedStyle(element).getPropertyValue(name), property);
	expect(await style('red', 'color')).toMatch(/^oklch\(0\.44 /);
	expect(await style('loud', 'font-style')).toBe('italic');
	expect(await style('loud', 'text-decoration-line')).toBe('underline');
	expect(await style('boxed', 'background-color')).toBe('rgb(255, 255, 255)');
	expect(await style('boxed', 'color')).toBe('rgb(1, 2, 3)');
	expect(await style('still boxed', 'color')).toBe('rgb(1, 2, 3)');
	await expect(log).toContainText('link');
	await expect(log.getByRole('link')).toHaveCount(0);
	await page.emulateMedia({ colorScheme: 'dark' });
	await expect.poll(() => style('red', 'color')).toMatch(/^oklch\(0\.72 /);
});

test('the log is paused, filtered by stream and attempt, wrapped, and downloaded', async ({
	page,
	orchestrator
}) => {
	const one = job(0, 'JOB_STATE_RUNNING', {
		attempts: [1, 2].map((number) => ({
			number,
			nodeId: 'node-0001',
			state: number === 1 ? ('ATTEMPT_STATE_FAILED' as const) : ('ATTEMPT_STATE_RUNNING' as const),
			assignedAt: ago(60 - number),
			startedAt: ago(50 - number)
		}))
	});
	orchestrator.putJob(one);
	const id = one.id ?? '';
	orchestrator.appendLog(
		id,
		said(1, 'first attempt'),
		said(1, 'a complaint', 'stderr', 2),
		said(1, `long ${'x'.repeat(400)}`, 'stdout', 2)
	);
	await page.goto(`/jobs/${id}`);
	const log = page.getByRole('log');
	await expect(log).toContainText('first attempt');
	orchestrator.appendLog(id, { ...said(0, '7 lines dropped', 'stderr', 2), note: true });
	await page.getByLabel('Stream').selectOption('stderr');
	await expect(log).toContainText('a complaint');
	await expect(log).toContainText('7 lines dropped');
	await expect(log).not.toContainText('first attempt');
	await page.getByLabel('Stream').selectOption('both');

	await page.getByRole('button', { name: 'Pause' }).click();
	orchestrator.appendLog(id, said(2, 'while paused', 'stdout', 2));
	await expect(page.getByText('paused, 1 new line')).toBeVisible();
	await expect(log).not.toContainText('while paused');
	await page.getByRole('button', { name: 'Resume' }).click();
	await expect(log).toContainText('while paused');
	await expect(page.getByText('following')).toBeVisible();

	const isWide = () => log.evaluate((element) => element.scrollWidth > element.clientWidth);
	expect(await isWide()).toBe(false);
	await page.getByLabel('Wrap').uncheck();
	await expect.poll(isWide).toBe(true);

	await page.getByRole('combobox', { name: /^Attempt/ }).selectOption('1');
	await expect(log).toContainText('first attempt');
	await expect(log).not.toContainText('while paused');
	await page.getByLabel('Stream').selectOption('stderr');
	await expect(log).toContainText('Nothing on stderr yet.');
	const [download] = await Promise.all([
		page.waitForEvent('download'),
		page.getByRole('link', { name: 'Download' }).click()
	]);
	expect(download.suggestedFilename()).toBe(`${one.name}.log`);
	const stream = await download.createReadStream();
	const chunks: Buffer[] = [];
	for await (const chunk of stream) chunks.push(chunk as Buffer);
	expect(Buffer.concat(chunks).toString()).toBe('first attempt\n');
});

test('what was submitted can be copied as YAML', async ({ page, context, orchestrator }) => {
	await context.grantPermissions(['clipboard-read', 'clipboard-write']);
	await page.goto(`/jobs/${orchestrator.jobs[0]?.id}`);
	await page.getByText('As YAML').click();
	await page.getByRole('button', { name: 'Copy spec' }).click();
	const copied = await page.evaluate(() => navigator.clipboard.readText());
	expect(copied).toContain('    image: ghcr.io/orchion/example-agent:0.1.0\n');
	// Nobody has asked for GPUs.
	expect(copied).not.toContain('gpus');
});

test('what a job left can be downloaded, from when its attempt has ended', async ({
	page,
	orchestrator
}) => {
	const one = job(0, 'JOB_STATE_RUNNING');
	const container = { ...one.spec?.container, artifacts: [{ path: '/out/**' }] };
	const leaving = { ...one, spec: { ...one.spec, container } };
	const id = one.id ?? '';
	orchestrator.putJob(leaving);
	await page.goto(`/jobs/${id}`);
	const panel = page.getByRole('region', { name: 'Artifacts' });
	await expect(panel).toContainText('Kept when its container has ended: /out/**');

	orchestrator.artifacts.set(id, [
		{ attempt: 1, name: 'out/a b.txt', path: '/out/a b.txt', sizeBytes: '1536', mode: 0o640 },
		{ attempt: 1, name: 'out/deep/<b>', path: '/out/deep/<b>', sizeBytes: '0', mode: 0o755 }
	]);
	orchestrator.putJob({
		...leaving,
		state: 'JOB_STATE_SUCCEEDED',
		attempts: [{ number: 1, state: 'ATTEMPT_STATE_SUCCEEDED', finishedAt: ago(0) }]
	});
	await expect(panel).toContainText('Attempt 1: 2 files, 1.5 KiB');
	await expect(panel.getByRole('link', { name: 'out/a b.txt' })).toHaveAttribute(
		'href',
		new RegExp(`/api/jobs/${id}/artifacts/out/a%20b.txt\\?attempt=1$`)
	);
	await expect(panel.getByRole('link', { name: 'out/deep/<b>' })).toBeVisible();
	await expect(panel.getByRole('link', { name: 'Download all as tar' })).toHaveAttribute(
		'href',
		new RegExp(`/api/jobs/${id}/artifacts.tar\\?attempt=1$`)
	);
	await expect(panel).toContainText('0640');
});
