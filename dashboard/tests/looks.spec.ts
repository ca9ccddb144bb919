// Every page in every look: axe finds nothing, nothing is cut off on a small screen, and a picture
// of it is written to tests/screenshots for people.
import { ago } from './fixture/objects';
import type { FixtureOrchestrator } from './fixture/orchestrator';
import { expectGoodLooks } from './fixture/looks';
import { expect, test } from './fixture/test';

const PAGES = {
	overview: '/',
	nodes: '/nodes',
	node: '/nodes/node-0003',
	jobs: '/jobs',
	submit: '/jobs/new',
	queues: '/queues',
	schedules: '/schedules',
	schedule: '/schedules/nightly',
	'schedule-new': '/schedules/new',
	'schedule-edit': '/schedules/nightly/edit',
	models: '/models',
	model: '/models/llama3-2-3b',
	deploy: '/models/new',
	chat: '/models/chat',
	usage: '/usage',
	settings: '/settings',
	missing: '/no/such/page'
};

for (const [name, path] of Object.entries(PAGES)) {
	test(`the page ${name}`, async ({ page }) => {
		await page.goto(path);
		await expect(page.getByRole('heading', { level: 1 })).toBeVisible();
		await expect(
			page.getByText('Live', { exact: true }).locator('visible=true').first()
		).toBeVisible();
		await expectGoodLooks(page, name);
	});
}

/** The first job, in its third attempt, with a log of every colour. */
function busyJob(orchestrator: FixtureOrchestrator): string {
	const running = orchestrator.jobs[0];
	const id = running?.id ?? '';
	orchestrator.putJob({
		...running,
		attempts: [
			{
				number: 1,
				nodeId: 'node-0001',
				state: 'ATTEMPT_STATE_LOST',
				assignedAt: ago(170),
				startedAt: ago(160),
				finishedAt: ago(90),
				reason: 'the node stopped renewing the lease'
			},
			{
				number: 2,
				nodeId: 'node-0002',
				state: 'ATTEMPT_STATE_FAILED',
				assignedAt: ago(80),
				startedAt: ago(75),
				finishedAt: ago(60),
				exitCode: 137,
				reason: 'the container used more memory than its limit of 512 MiB'
			},
			{
				number: 3,
				nodeId: 'node-0003',
				state: 'ATTEMPT_STATE_RUNNING',
				assignedAt: ago(50),
				startedAt: ago(45)
			}
		],
		createdAt: ago(180)
	});
	const texts = [
		'agent: goal: sum the numbers of the report',
		'\u001b[32magent: \u001b[1mmodel\u001b[0m qwen3:0.6b \u001b[30;43manswers\u001b[0m \u001b[38;5;208min\u001b[0m \u001b[2;36m4 s\u001b[0m',
		'agent: calling tool add(19, 23)',
		'agent: the sum is 42'
	];
	const time = new Date().toISOString();
	orchestrator.appendLog(
		id,
		...Array.from({ length: 12 }, (_, index) => ({
			stream: 'stdout',
			attempt: 1,
			line: String(index + 1),
			time,
			text: texts[index % 4]
		})),
		// Every colour must be readable in both themes.
		...Array.from({ length: 16 }, (_, color) => ({
			stream: 'stdout',
			attempt: 1,
			line: String(color + 13),
			text: `\u001b[38;5;${color}mcolour\u001b[0m \u001b[2;38;5;${color}mdim\u001b[0m \u001b[48;5;${color}mon it\u001b[0m \u001b[2mdim\u001b[0m`
		})),
		{ stream: 'stderr', attempt: 1, line: '0', note: true, text: '7 lines dropped' },
		{ stream: 'stderr', attempt: 1, line: '1', text: 'x'.repeat(500) }
	);
	return id;
}

test('the page of a running job', async ({ page, orchestrator }) => {
	await page.goto(`/jobs/${busyJob(orchestrator)}`);
	await expect(page.getByText('7 lines dropped')).toBeVisible();
	await expectGoodLooks(page, 'job');
});

test('a log that is searched', async ({ page, orchestrator }) => {
	await page.goto(`/jobs/${busyJob(orchestrator)}`);
	await expect(page.getByText('7 lines dropped')).toBeVisible();
	await page.getByRole('searchbox').fill('model');
	await page.keyboard.press('Enter');
	await expectGoodLooks(page, 'job-searched', ['wide']);
});

test('the page of a job that has failed', async ({ page, orchestrator }) => {
	await page.goto(`/jobs/${orchestrator.jobs[4]?.id}`);
	await expect(page.getByRole('heading', { level: 1 })).toBeVisible();
	await expectGoodLooks(page, 'failed');
});

test('the page of a job that waits', async ({ page, orchestrator }) => {
	const queued = orchestrator.jobs.find((one) => one.state === 'JOB_STATE_QUEUED');
	orchestrator.explanation = {
		jobId: queued?.id,
		summary: 'No node fits: 6 of 6 have too little free memory.',
		nodes: [...orchestrator.nodes.values()].map((node, index) => ({
			nodeId: node.id,
			hostname: node.hostname,
			fits: index === 5,
			reasons: [
				'needs 512 MiB of memory, 120 MiB are free',
				'label.room is lab, the job asks for label.room=office'
			].slice(index === 5 ? 2 : index % 2),
			score: index === 5 ? 0.71 : 0
		}))
	};
	await page.goto(`/jobs/${queued?.id}`);
	await expect(page.getByText('No node fits: 6 of 6')).toBeVisible();
	await expectGoodLooks(page, 'queued');
});

test('a question before something is done', async ({ page }) => {
	await page.goto('/nodes/node-0003');
	await page.getByRole('button', { name: 'Drain draco-3' }).click();
	await expect(page.getByRole('dialog')).toBeVisible();
	await expectGoodLooks(page, 'dialog');
});

test('a form with a mistake', async ({ page }) => {
	await page.goto('/queues');
	await page.getByRole('button', { name: 'Edit night' }).click();
	await page.getByLabel('Weight').fill('0');
	await page.getByRole('button', { name: 'Save' }).click();
	await expect(page.getByLabel('Weight')).toHaveAttribute('aria-invalid', 'true');
	await expectGoodLooks(page, 'queue-edited');
});

test('selected jobs', async ({ page }) => {
	await page.goto('/jobs');
	await page.getByRole('checkbox', { name: 'Select all that are shown' }).check();
	await expect(page.getByRole('group', { name: 'Selected jobs' })).toBeVisible();
	await expectGoodLooks(page, 'jobs-selected');
});

test('the whole form of a job, unfolded', async ({ page }) => {
	await page.goto('/jobs/new');
	await page.getByText('More', { exact: true }).click();
	await page.getByRole('textbox', { name: 'Image' }).fill('alpine');
	await page.getByRole('button', { name: 'Wait for a job' }).click();
	await page.getByRole('button', { name: 'Add a file' }).click();
	await page.getByText('As a file or a request').click();
	await expectGoodLooks(page, 'submit-unfolded');
});

test('the form of a program, with mistakes', async ({ page }) => {
	await page.goto('/jobs/new');
	await page.getByRole('radio', { name: 'a program of the node' }).check();
	await page.getByText('More', { exact: true }).click();
	await page.getByLabel('Tolerated taints').fill('a=b');
	await page.getByLabel('Better and worse nodes').fill('label.disk=ssd');
	await page.getByRole('button', { name: 'Submit job' }).click();
	await expect(page.getByText('name the program')).toBeVisible();
	await expectGoodLooks(page, 'submit-process', ['narrow']);
});

for (const [name, path] of Object.entries({
	overview: '/',
	nodes: '/nodes',
	jobs: '/jobs',
	schedules: '/schedules',
	models: '/models',
	chat: '/models/chat'
})) {
	test(`the page ${name} with nothing on it`, async ({ page, orchestrator }) => {
		orchestrator.load({ nodes: [], jobs: [], deployments: [] });
		orchestrator.schedules.clear();
		await page.goto(path);
		await expect(page.getByRole('heading', { level: 2 }).first()).toBeVisible();
		await expectGoodLooks(page, `empty-${name}`);
	});
}
