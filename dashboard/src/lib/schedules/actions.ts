import type { Schedule } from '../api/client';
import type { App } from '../app.svelte';

/** Pauses a schedule or lets it go on; answers what it is then, or undefined when that failed. */
export function togglePause(app: App, schedule: Schedule): Promise<Schedule | undefined> {
	const name = schedule.name ?? '';
	const title = `Could not ${schedule.paused ? 'resume' : 'pause'} ${name}`;
	return app.attempt(title, () => app.live.api.pauseSchedule(name, !schedule.paused));
}

/** Submits a run now. */
export async function runNow(app: App, name: string): Promise<void> {
	await app.attempt(`Could not run ${name}`, async () => {
		const job = await app.live.api.triggerSchedule(name);
		app.live.apply({ job });
		app.toast('done', `${name} runs now`, job.name ?? '');
	});
}
