#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/base.h"
#include "check.h"
#include "faults.h"

static char folder[256];

static int make_folder(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/sightglass-file-test-XXXXXX", tmp ? tmp : "/tmp");
    return mkdtemp(folder) ? 0 : -1;
}

static int n_entries(void)
{
    int n = 0;
    DIR *d = opendir(folder);
    for (const struct dirent *e; (e = readdir(d));)
        n += e->d_name[0] != '.' || strlen(e->d_name) > 2;
    closedir(d);
    return n;
}

static int remove_folder(void **state)
{
    (void)state;
    DIR *d = opendir(folder);
    for (const struct dirent *e; (e = readdir(d));) {
        char path[600];
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            remove(path);
    }
    closedir(d);
    return rmdir(folder);
}

static const char *in_folder(char buf[600], const char *name)
{
    snprintf(buf, 600, "%s/%s", folder, name);
    return buf;
}

static void check_content(const char *path, const char *want)
{
    sg_error err;
    sg_file *file;
    CHECK_OK(sg_file_open(&file, path, &err), &err);
    CHECK(sg_file_bytes(file) == strlen(want));
    CHECK(memcmp(sg_file_data(file), want, strlen(want)) == 0);
    assert_string_equal(sg_file_path(file), path);
    sg_file_close(file);
}

static void write_content(const char *path, const char *text)
{
    sg_error err;
    sg_writer *w;
    CHECK_OK(sg_writer_begin(&w, path, &err), &err);
    CHECK(fputs(text, sg_writer_stream(w)) >= 0);
    CHECK_OK(sg_writer_commit(w, &err), &err);
}

static void what_cannot_be_read_says_why(void **state)
{
    (void)state;
    char path[600];
    sg_error err;
    sg_file *file = (sg_file *)folder; /* anything: an error leaves NULL */

    CHECK_STATUS(sg_file_open(&file, in_folder(path, "missing"), &err), SG_ENOTFOUND);
    CHECK(file == NULL);
    CHECK_TEXT(err.text, "missing: cannot open: ");

    CHECK_STATUS(sg_file_open(&file, folder, &err), SG_EIO);
    CHECK_TEXT(err.text, "is a directory");

    CHECK(mkfifo(in_folder(path, "pipe"), 0600) == 0);
    CHECK_STATUS(sg_file_open(&file, path, &err), SG_EIO); /* and does not wait for a writer */
    CHECK_TEXT(err.text, "not a regular file");
    unlink(path);
    sg_file_close(NULL);
}

static void an_empty_file_has_no_bytes(void **state)
{
    (void)state;
    char path[600];
    sg_error err;
    sg_file *file;
    write_content(in_folder(path, "empty"), "");
    CHECK_OK(sg_file_open(&file, path, &err), &err);
    CHECK(sg_file_bytes(file) == 0 && sg_file_data(file) == NULL);
    sg_file_close(file);
    unlink(path);
}

static void a_commit_replaces_the_file_and_leaves_nothing_beside_it(void **state)
{
    (void)state;
    char path[600];
    write_content(in_folder(path, "a.txt"), "old");
    check_content(path, "old");
    write_content(path, "newer");
    check_content(path, "newer");
    CHECK(n_entries() == 1);
    struct stat st;
    const mode_t mask = umask(0);
    umask(mask);
    CHECK(stat(path, &st) == 0 && (st.st_mode & 0777) == (0666 & ~mask)); /* the rights of any new file */
    unlink(path);
}

static void the_old_file_stays_until_the_commit(void **state)
{
    (void)state;
    char path[600];
    sg_error err;
    sg_writer *w;
    write_content(in_folder(path, "b.txt"), "old");
    CHECK_OK(sg_writer_begin(&w, path, &err), &err);
    CHECK(fputs("half of the new", sg_writer_stream(w)) >= 0);
    CHECK(fflush(sg_writer_stream(w)) == 0);
    check_content(path, "old");
    sg_writer_abort(w);
    check_content(path, "old");
    CHECK(n_entries() == 1);
    unlink(path);
    sg_writer_abort(NULL);
}

static void a_mapping_keeps_the_file_it_was_made_of(void **state)
{
    (void)state;
    char path[600];
    sg_error err;
    sg_file *file;
    write_content(in_folder(path, "c.txt"), "first");
    CHECK_OK(sg_file_open(&file, path, &err), &err);
    write_content(path, "second");
    CHECK(memcmp(sg_file_data(file), "first", 5) == 0);
    sg_file_close(file);
    unlink(path);
}

static void the_longest_name_can_be_written(void **state)
{
    (void)state;
    char name[256], path[600];
    memset(name, 'n', 255);
    name[255] = '\0';
    write_content(in_folder(path, name), "x");
    check_content(path, "x");
    unlink(path);
}

static void what_cannot_be_written_says_why(void **state)
{
    (void)state;
    char path[600];
    sg_error err;
    sg_writer *w;
    CHECK_STATUS(sg_writer_begin(&w, in_folder(path, "no-such-folder/x"), &err), SG_ENOTFOUND);
    CHECK_TEXT(err.text, "no-such-folder/x: cannot write: ");
    CHECK(w == NULL);
    CHECK_STATUS(sg_writer_begin(&w, folder, &err), SG_EIO);
    CHECK_TEXT(err.text, "is a directory");
    CHECK_STATUS(sg_writer_check(folder, &err), SG_EIO);
    CHECK_OK(sg_writer_check(NULL, &err), &err);
    CHECK_OK(sg_writer_check(in_folder(path, "not-yet"), &err), &err);
    CHECK(access(path, F_OK) != 0);
}

static void a_failed_write_keeps_the_old_file(void **state)
{
    (void)state;
    char path[600];
    sg_error err;
    sg_writer *w;
    write_content(in_folder(path, "d.txt"), "old");
    CHECK_OK(sg_writer_begin(&w, path, &err), &err);
    /* /dev/full stands for a disk without room. */
    const int full = open("/dev/full", O_WRONLY);
    CHECK(full >= 0 && dup2(full, fileno(sg_writer_stream(w))) >= 0);
    close(full);
    CHECK(fputs("new", sg_writer_stream(w)) >= 0);
    CHECK_STATUS(sg_writer_commit(w, &err), SG_EIO);
    CHECK_TEXT(err.text, "No space");
    check_content(path, "old");
    CHECK(n_entries() == 1);
    unlink(path);
}

static void each_failed_allocation_is_reported(void **state)
{
    (void)state;
    char path[600];
    write_content(in_folder(path, "e.txt"), "old");
    for (long n = 0;; n++) {
        sg_error err;
        sg_file *file;
        sg_faults_begin(n, SG_FAULT_ONCE);
        const sg_status status = sg_file_open(&file, path, &err);
        const bool fired = sg_faults_end();
        CHECK(status == (fired ? SG_ENOMEM : SG_OK));
        sg_file_close(file);
        if (!fired)
            break;
    }
    for (long n = 0;; n++) {
        sg_error err;
        sg_writer *w;
        sg_faults_begin(n, SG_FAULT_ONCE);
        const sg_status status = sg_writer_begin(&w, path, &err);
        const bool fired = sg_faults_end();
        CHECK(status == (fired ? SG_ENOMEM : SG_OK));
        sg_writer_abort(w);
        CHECK(n_entries() == 1);
        if (!fired)
            break;
    }
    check_content(path, "old");
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_cannot_be_read_says_why),
        cmocka_unit_test(an_empty_file_has_no_bytes),
        cmocka_unit_test(a_commit_replaces_the_file_and_leaves_nothing_beside_it),
        cmocka_unit_test(the_old_file_stays_until_the_commit),
        cmocka_unit_test(a_mapping_keeps_the_file_it_was_made_of),
        cmocka_unit_test(the_longest_name_can_be_written),
        cmocka_unit_test(what_cannot_be_written_says_why),
        cmocka_unit_test(a_failed_write_keeps_the_old_file),
        cmocka_unit_test(each_failed_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
