/* Leaves a file with the reader: a browser's download, which stays on this machine. */
export function save(name: string, content: BlobPart, type = 'text/plain'): void {
    const url = URL.createObjectURL(new Blob([content], { type }));
    const a = document.createElement('a');
    a.href = url;
    a.download = name;
    a.click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
export const saveCsv = (name: string, text: string): void => save(name, text, 'text/csv');
export const saveJson = (name: string, value: unknown): void => save(name, JSON.stringify(value, null, 1), 'application/json');
