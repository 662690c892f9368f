// Runs SQL scripts, prints what queries return, and shares a database file between threads.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sqlite3.h"

static void reverse(sqlite3_context *context, int count, sqlite3_value **values) {
    (void)count;
    const char *text = (const char *)sqlite3_value_text(values[0]);
    int length = sqlite3_value_bytes(values[0]);
    char *reversed = sqlite3_malloc(length + 1);
    for (int i = 0; i < length; i++) reversed[i] = text[length - 1 - i];
    sqlite3_result_text(context, reversed, length, sqlite3_free);
}

struct product {
    double value;
    int used;
};

static void product_step(sqlite3_context *context, int count, sqlite3_value **values) {
    (void)count;
    struct product *product = sqlite3_aggregate_context(context, sizeof *product);
    product->value = (product->used ? product->value : 1.0) * sqlite3_value_double(values[0]);
    product->used = 1;
}

static void product_final(sqlite3_context *context) {
    struct product *product = sqlite3_aggregate_context(context, 0);
    if (product) sqlite3_result_double(context, product->value);
}

static int by_length(void *data, int size_a, const void *a, int size_b, const void *b) {
    (void)data;
    if (size_a != size_b) return size_a - size_b;
    return memcmp(a, b, (size_t)size_a);
}

static void print_row(sqlite3_stmt *statement) {
    for (int column = 0; column < sqlite3_column_count(statement); column++) {
        if (column) putchar('|');
        switch (sqlite3_column_type(statement, column)) {
        case SQLITE_NULL:
            printf("NULL");
            break;
        case SQLITE_FLOAT:
            printf("%.15g", sqlite3_column_double(statement, column));
            break;
        case SQLITE_BLOB: {
            const unsigned char *bytes = sqlite3_column_blob(statement, column);
            for (int i = 0; i < sqlite3_column_bytes(statement, column); i++) printf("%02x", bytes[i]);
            break;
        }
        default:
            printf("%s", (const char *)sqlite3_column_text(statement, column));
        }
    }
    putchar('\n');
}

// Errors are part of the output, on stderr, and do not stop the script.
static int run(sqlite3 *database, const char *sql) {
    int errors = 0;
    while (*sql) {
        sqlite3_stmt *statement = 0;
        int status = sqlite3_prepare_v2(database, sql, -1, &statement, &sql);
        if (status == SQLITE_OK && !statement) continue;
        while (status == SQLITE_OK || status == SQLITE_ROW) {
            status = sqlite3_step(statement);
            if (status == SQLITE_ROW) print_row(statement);
        }
        if (status != SQLITE_DONE) {
            fprintf(stderr, "%s (%d)\n", sqlite3_errmsg(database), sqlite3_extended_errcode(database));
            errors++;
            if (!statement) break;
        }
        sqlite3_finalize(statement);
    }
    return errors;
}

static char *read_file(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        exit(2);
    }
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    rewind(file);
    char *text = malloc((size_t)size + 1);
    if (fread(text, 1, (size_t)size, file) != (size_t)size) exit(2);
    text[size] = 0;
    fclose(file);
    return text;
}

static void *insert_rows(void *argument) {
    int worker = (int)(long)argument;
    sqlite3 *database = 0;
    if (sqlite3_open("shared.db", &database)) return "open";
    sqlite3_busy_timeout(database, 60000);
    for (int row = 0; row < 50; row++) {
        char *sql = sqlite3_mprintf("insert into entries values (%d, %d, hex(%Q))", worker, row, "a 'quoted' text");
        int status = sqlite3_exec(database, sql, 0, 0, 0);
        sqlite3_free(sql);
        if (status) return "insert";
    }
    sqlite3_close(database);
    return 0;
}

static void share(void) {
    sqlite3 *database = 0;
    sqlite3_open("shared.db", &database);
    sqlite3_busy_timeout(database, 60000);
    run(database, "pragma journal_mode = wal; pragma synchronous = off; create table entries (worker, row, text)");
    pthread_t threads[4];
    for (long i = 0; i < 4; i++) pthread_create(&threads[i], 0, insert_rows, (void *)i);
    for (int i = 0; i < 4; i++) {
        void *problem = 0;
        pthread_join(threads[i], &problem);
        if (problem) fprintf(stderr, "worker %d: %s\n", i, (char *)problem);
    }
    run(database, "select worker, count(*), sum(row), min(text) from entries group by worker order by worker;"
                  "pragma integrity_check");
    sqlite3_close(database);
    // The order in which the workers wrote is not the same twice.
    remove("shared.db");
}

int main(int argc, char **argv) {
    sqlite3 *database = 0;
    printf("SQLite %s, thread-safe %d\n", sqlite3_libversion(), sqlite3_threadsafe());
    if (argc < 2 || sqlite3_open("file.db", &database) != SQLITE_OK) return 2;
    sqlite3_create_function(database, "reverse", 1, SQLITE_UTF8 | SQLITE_DETERMINISTIC, 0, reverse, 0, 0);
    sqlite3_create_function(database, "product", 1, SQLITE_UTF8, 0, 0, product_step, product_final);
    sqlite3_create_collation(database, "by_length", SQLITE_UTF8, 0, by_length);
    int errors = 0;
    for (int i = 1; i < argc; i++) {
        char *sql = read_file(argv[i]);
        errors += run(database, sql);
        free(sql);
    }
    sqlite3_close(database);
    share();
    printf("%d errors\n", errors);
    return errors;
}
